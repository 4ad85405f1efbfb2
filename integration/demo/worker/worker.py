"""A worker with a status page: fetches from the web app every few seconds, and says on its own port how that went."""

import http.server
import json
import os
import signal
import threading
import urllib.request

fetched = {"ok": 0, "failed": 0}
done = threading.Event()


def work():
    while not done.wait(5):
        try:
            with urllib.request.urlopen(os.environ["WEB"], timeout=2) as answer:
                json.load(answer)
            fetched["ok"] += 1
        except OSError as error:
            fetched["failed"] += 1
            print(f"failed to fetch: {error}", flush=True)


class Status(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"app": "worker", "pid": os.getpid(), **fetched}).encode() + b"\n"
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, form, *args):
        print(form % args, flush=True)


class Server(http.server.ThreadingHTTPServer):
    allow_reuse_address = True


server = Server(("127.0.0.1", int(os.environ["PORT"])), Status)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
threading.Thread(target=work, daemon=True).start()
print("working", flush=True)
server.serve_forever()
done.set()
