"""Holds a running server to its own document: requests of every operation, sound and odd ones, by schemathesis. Fails on a server's
error and on a status, a header or a body that the document doesn't have. Run by `tests/run`, in its environment.

    PLAUDIT=target/debug/plaudit python tests/openapi/hold.py
"""

import base64
import hashlib
import hmac
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
PROGRAM = os.environ.get("PLAUDIT", HERE.parents[1] / "target/debug/plaudit")
SECRET = "a secret for the tokens of this suite"
# Under two minutes on a busy machine of two cores, and ten times that on a slow one; what hangs must fail.
EXAMPLES = 25
GIVE_UP_S = 3600
# For one answer, and for the server's end.
WAIT_S = 120


def token(sub):
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    text = part({"alg": "HS256", "typ": "JWT"}) + b"." + part({"sub": sub, "exp": int(time.time()) + 24 * 3600, "name": sub})
    return (text + b"." + base64.urlsafe_b64encode(hmac.digest(SECRET.encode(), text, hashlib.sha256)).rstrip(b"=")).decode()


def main():
    with tempfile.TemporaryDirectory(prefix="plaudit-openapi-") as work:
        env = {name: value for name, value in os.environ.items() if not name.startswith("PLAUDIT_")}
        server = subprocess.Popen(
            [PROGRAM, "serve", "--listen", "127.0.0.1:0", "--data-dir", f"{work}/store", "--jwt-secret", SECRET,
             "--admin-token", "admin-token-of-this-suite-0123456789", "--cron-secret", "cron-secret-of-this-suite-0123456789",
             "--push-app", "app-1:key-1:secret-1", "--rate-limit", "off", "--anonymous-comments"],
            stdout=subprocess.PIPE, env={**env, "PLAUDIT_LOG": "error"}, text=True,
        )
        try:
            late = threading.Timer(WAIT_S, server.kill)
            late.start()
            said = (re.search(r"listening +(http://\S+)", line) for line in server.stdout)
            address = next((found.group(1) for found in said if found), None)
            late.cancel()
            if address is None:
                sys.exit("the server did not start")
            done = run(address, env, work)
            alive = server.poll() is None
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=WAIT_S)
        if not alive:
            sys.exit("the server ended while it was asked")
        sys.exit(done)


def comment(address):
    """The id of a comment, for what is done to comments."""
    text = json.dumps({"clipId": "clip-1", "content": "first"}).encode()
    headers = {"content-type": "application/json", "authorization": f"Bearer {token('bob')}"}
    with urllib.request.urlopen(urllib.request.Request(f"{address}/api/comments", text, headers), timeout=WAIT_S) as answer:
        return json.load(answer)["comment"]["id"]


def run(address, env, work):
    command = [
        pathlib.Path(sys.executable).parent / "st", "--config-file", HERE / "schemathesis.toml", "run",
        f"{address}/openapi.json", "--phases", "examples,coverage,fuzzing",
        # It has no end: the tests over HTTP and the client's own read it.
        "--exclude-path", "/api/stream",
        "--max-examples", str(EXAMPLES), "--seed", "20260101", "--generation-deterministic", "--request-timeout", str(WAIT_S),
        "--suppress-health-check", "all", "--warnings", "off", "--continue-on-failure",
        *sys.argv[1:],
    ]
    tokens = {"VOTER_TOKEN": token("ada"), "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1", "COMMENT": comment(address)}
    try:
        return subprocess.run(command, env={**env, **tokens}, cwd=work, timeout=GIVE_UP_S).returncode
    except subprocess.TimeoutExpired:
        print(f"not done within {GIVE_UP_S} s", file=sys.stderr)
        return 1


if __name__ == "__main__":
    main()
