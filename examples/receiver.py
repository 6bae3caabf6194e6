"""A receiver of webhooks, without any library: `python examples/receiver.py SECRET [PORT]`.

It takes what is signed with the secret and was sent just now, each delivery once, and prints it.
"""

import base64
import hashlib
import hmac
import json
import sys
import time
from contextlib import suppress
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer

TOLERANCE = 300  # seconds


def verified(headers: Message, body: bytes, secret: str) -> bool:
    """Whether these bytes were signed with the secret, not long ago."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    sent_at = headers.get("webhook-timestamp", "")
    if not sent_at.isdecimal() or abs(time.time() - int(sent_at)) > TOLERANCE:
        return False
    signed = f"{headers.get('webhook-id')}.{sent_at}.".encode() + body
    expected = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    # Several while the secret is replaced, with a space between: one that matches is enough.
    given = headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(f"v1,{expected}".encode(), one.encode()) for one in given)


seen: set[str] = set()  # in life: a table, written in the same transaction as what is done with the event


class Receiver(BaseHTTPRequestHandler):
    secret = ""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if not verified(self.headers, body, self.secret):
            return self._answer(401)
        delivery = self.headers["webhook-id"]
        if delivery not in seen:  # otherwise our answer was lost, and the sender asks again
            seen.add(delivery)
            event = json.loads(body)
            print(event["type"], event["data"].get("seq", "-"), event["data"].get("content") or "", flush=True)
        self._answer(204)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    Receiver.secret = sys.argv[1]
    server = HTTPServer(("127.0.0.1", int(sys.argv[2]) if len(sys.argv) == 3 else 8099), Receiver)
    print(f"receiving on http://127.0.0.1:{server.server_port}/", flush=True)
    with suppress(KeyboardInterrupt):
        server.serve_forever()
