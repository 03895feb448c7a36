use super::*;
use crate::config::{Address, SocketAccess};

const ACCESS: SocketAccess = SocketAccess { mode: 0o660, group: None };

fn addresses(texts: &[&str]) -> Vec<Address> {
    texts.iter().map(|text| text.parse().expect("an address")).collect()
}

#[test]
fn a_family_that_the_machine_lacks_is_skipped_for_the_default_and_an_error_where_it_was_asked_for() {
    // An address for examples, which no machine has.
    let (lacking, there) = ("[2001:db8::1]:0", "127.0.0.1:0");
    for texts in [[lacking, there], [there, lacking]] {
        let mut all = addresses(&texts);
        let bound = bind(&mut all, "--ops-listen", ACCESS, 1, &addresses(&texts)).map_err(|error| error.to_string());
        assert_eq!((bound.map(|bound| bound.len()), all.len()), (Ok(1), 1));
        assert!(matches!(all[0], Address::Tcp(address) if address.is_ipv4() && address.port() != 0));

        let error = bind(&mut addresses(&texts), "--ops-listen", ACCESS, 1, &[]);
        let error = error.err().expect("an error").to_string();
        assert!(error.contains(lacking) && error.contains("--ops-listen"), "{error}");
    }
    let none = bind(&mut addresses(&[lacking]), "--ops-listen", ACCESS, 1, &addresses(&[lacking]));
    assert!(none.is_err(), "one must be there");
    let other = bind(&mut addresses(&[lacking, there]), "--ops-listen", ACCESS, 1, &addresses(&[there]));
    assert!(other.is_err(), "only those that may be missing are");
}

#[test]
fn a_port_that_is_taken_is_never_skipped() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    for may_be_missing in [addresses(&[&address]), Vec::new()] {
        let bound = bind(&mut addresses(&[&address, "127.0.0.1:0"]), "--ops-listen", ACCESS, 2, &may_be_missing);
        assert!(bound.is_err());
    }
}
