"""Each proxy of docs/browser.md, as it is printed: what it serves to Chromium, and what is refused without a flag."""

import dataclasses
import itertools
import json
import unittest

import snippets
from edit_page import EditPage
from stand import Machine, Stand, jwt

volumes = (str(number) for number in itertools.count(1))

ASK = """
const [origin, method, path, credentials] = arguments;
const body = method === "POST" ? JSON.stringify({ route: "volume", id: path.slice(1 + path.indexOf("#")) }) : undefined;
const answer = await fetch(origin + path, { method, body, credentials });
return [answer.status, Object.fromEntries(answer.headers), await answer.text()];
"""


def setUpModule():
    global machine
    machine = Machine()
    unittest.addModuleCleanup(machine.close)


class Caller:
    """A page of one user at the app's origin, with a script that calls lockside."""

    def __init__(self, browser, stand: Stand):
        self.browser, self.stand = browser, stand
        browser.open(f"{stand.origin}/edit.html?volume=none")

    def ask(self, method: str, path: str, volume: str = "", credentials: str = "include"):
        answer = self.browser.script(ASK, self.stand.lockside, method, f"{path}#{volume}", credentials)
        assert isinstance(answer, list), answer
        status, headers, text = answer
        return status, headers, text

    def lock(self, volume: str, query: str = ""):
        return self.ask("POST", f"/admin/lock{query}", volume)


class Proxy:
    """One case with one proxy."""

    case: str
    language: str

    def stand(self, set_up=None, **options) -> Stand:
        stand = Stand(machine, set_up or snippets.set_up(self.case, self.language), **options)
        self.addCleanup(stand.close)
        return stand

    def test_it_serves_acquire_renew_refuse_and_release_and_the_edit_page(self):
        stand, volume = self.stand(), next(volumes)
        ann, ben = (Caller(browser, stand) for browser in machine.browsers)
        status, granted, _ = ann.lock(volume)
        self.assertEqual((status, granted.get("lockside-lock")), (200, "created"))
        token = granted["lockside-token"]
        status, renewed, _ = ann.lock(volume, f"?token={token}")
        self.assertEqual((status, renewed.get("lockside-lock"), renewed["lockside-token"]), (200, "renewed", token))
        status, refused, _ = ben.lock(volume)
        self.assertEqual((status, refused.get("lockside-holder")), (409, "ann"))
        status, _, text = ben.ask("GET", f"/v1/locks/volume%3A{volume}")
        self.assertEqual(status, 200)
        self.assertIn('"owner":"ann"', text)
        self.assertEqual(ann.ask("DELETE", f"/v1/locks/volume%3A{volume}?token={token}")[0], 204)
        self.assertEqual(ben.lock(volume)[0], 200)
        self.assertEqual(ben.ask("DELETE", f"/admin/remove-lock?route=volume&id={volume}")[0], 200)

        page = EditPage(machine.ann, stand, volume).begin()
        page.type("of ann")
        page.save()
        self.assertEqual(stand.text(volume), "of ann")
        # The release is sent while the page is closed, also at another origin, where the browser asks first.
        page.browser.open("about:blank")
        EditPage(machine.ben, stand, volume).waits_for("Not being edited.")


class Flagged(Proxy):
    """A case in which lockside needs flags. `wrong` has the reason for which it refuses without each of them."""

    wrong: dict[str, str]

    def test_without_a_flag_it_is_refused_with_the_documented_reason(self):
        for flag, reason in self.wrong.items():
            with self.subTest(without=flag):
                stand, volume = self.stand(without=[flag]), next(volumes)
                page = EditPage(machine.ann, stand, volume)
                page.browser.click("#edit")
                # At another origin a browser shows a page nothing that was not meant for it.
                page.waits_for("Not editing: Failed to fetch." if stand.lockside else f"Refused: {reason}.")
                self.assertFalse(page.may_type)
                self.assertEqual(self.refused(stand, volume), (snippets.refusals()[reason], reason))
                stand.close()

    def refused(self, stand: Stand, volume: str):
        """What the browser's developer tools show, and curl."""
        host = (stand.lockside or stand.origin).split("://")[1]
        headers = {"Host": host, "Origin": stand.origin, "Cookie": f"refreshToken={jwt('ann')}"}
        body = json.dumps({"route": "volume", "id": volume})
        port = stand.sidecar.port if stand.lockside.startswith("http://") else stand.port
        status, answer, _ = stand.ask("POST", "/admin/lock", body, port, **headers)
        return status, answer["Lockside-Reason"]


class Forwarding:
    case = "Forwarding headers"

    def test_a_caller_without_credentials_is_refused_with_the_documented_reason(self):
        caller = Caller(machine.ann, self.stand())
        path = "/v1/locks/volume%3A1"
        status, headers, _ = caller.ask("GET", path, credentials="omit")
        reason = "proxied-anonymous"
        self.assertEqual((status, headers.get("lockside-reason")), (snippets.refusals()[reason], reason))
        self.assertEqual(caller.ask("GET", path)[0], 200)


class NginxPassesTheHost(Flagged, unittest.TestCase):
    case, language, wrong = "The host is passed on", "nginx", {"--allowed-hosts": "host-not-allowed"}

    def test_a_page_whose_address_has_a_port_needs_http_host(self):
        body, name = json.dumps({"route": "volume", "id": next(volumes)}), "admin.example.com:8443"
        headers = {"Host": name, "Origin": f"https://{name}", "Cookie": f"refreshToken={jwt('ann')}"}
        printed = snippets.set_up(self.case, self.language)
        changed = dataclasses.replace(printed, text=snippets.put(printed.text, {"$host": "$http_host"}))
        for set_up, expected in (printed, (403, "origin-not-allowed")), (changed, (200, None)):
            stand = self.stand(set_up)
            status, answer, _ = stand.ask("POST", "/admin/lock", body, **headers)
            self.assertEqual((status, answer["Lockside-Reason"]), expected)
            stand.close()

    def test_a_user_without_the_permission_is_refused_with_the_documented_reason(self):
        stand, reason = self.stand(), "missing-permission"
        machine.sign_in(machine.ben, jwt("cat", permissions=[]))
        self.addCleanup(machine.sign_in, machine.ben, jwt("ben"))
        status, headers, _ = Caller(machine.ben, stand).lock(next(volumes))
        self.assertEqual((status, headers.get("lockside-reason")), (snippets.refusals()[reason], reason))
        page = EditPage(machine.ben, stand, next(volumes))
        page.browser.click("#edit")
        page.waits_for(f"Refused: {reason}.")


class VitePassesTheHost(Proxy, unittest.TestCase):
    case, language = "The host is passed on", "js"


class NginxRewritesTheHost(Flagged, unittest.TestCase):
    case, language, wrong = "The host is rewritten", "nginx", {"--allowed-origins": "origin-not-allowed"}


class ViteRewritesTheHost(Flagged, unittest.TestCase):
    case, language, wrong = "The host is rewritten", "js", {"--allowed-origins": "origin-not-allowed"}


class NginxForwards(Forwarding, Flagged, unittest.TestCase):
    language, wrong = "nginx", {"--allowed-hosts": "host-not-allowed"}


class ViteForwards(Forwarding, Proxy, unittest.TestCase):
    language = "js"


class NginxAtAnotherOrigin(Flagged, unittest.TestCase):
    case, language = "Another origin", "nginx"
    wrong = {"--allowed-hosts": "host-not-allowed", "--allowed-origins": "origin-not-allowed"}


class ViteAtAnotherOrigin(Flagged, unittest.TestCase):
    case, language, wrong = "Another origin", "js", {"--allowed-origins": "origin-not-allowed"}


if __name__ == "__main__":
    unittest.main()
