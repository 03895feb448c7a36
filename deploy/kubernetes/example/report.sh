# Works while it holds the lock `nightly-report`: one replica at a time.
#
# The lock lives as long as the connection to lockside. A line comes at least every third of the ttl; when none has come
# for 4 s, the lease of 5 s is about to end, even if lockside is gone, and the work stops.
hold() {
    exec wget -q -O - --post-data '{"ttlMs":5000,"waitMs":600000}' http://127.0.0.1:7420/v1/locks/nightly-report/hold
}

work() {
    while :; do
        echo "working with token $1"
        sleep 0.2
    done
}

stop() {
    if [ -n "$worker" ]; then
        kill -9 "$worker" 2>/dev/null
        wait "$worker" 2>/dev/null
        echo "stopped: $1"
    fi
    # Only now: this releases the lock.
    kill "$holder" 2>/dev/null
    wait "$holder" 2>/dev/null
    worker=
}

trap 'stop "terminated"; exit 0' TERM INT
[ -p /tmp/lines ] || mkfifo /tmp/lines

while :; do
    hold >/tmp/lines 2>/dev/null &
    holder=$! worker= patience=
    while read -r $patience line; do
        case $line in
        *'"event":"acquired"'*)
            token=${line#*\"token\":}
            work "${token%%,*}" &
            worker=$! patience="-t 4"
            ;;
        *'"event":"renewed"'*) ;;
        *) break ;;
        esac
    done </tmp/lines
    stop "${line:-no word from lockside}"
    sleep 0.5
done
