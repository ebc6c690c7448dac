"""A small real inference server over HTTP/1.1: it answers every batch alike, at once or after a time."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class InferenceServer(ThreadingHTTPServer):
    """`arrived` is released for each batch that has come whole."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, answer_s: float) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.answer_s = answer_s
        self.arrived = threading.Semaphore(0)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: InferenceServer

    def do_POST(self) -> None:
        audio = self.rfile.read(int(self.headers["content-length"]))
        self.server.arrived.release()
        time.sleep(self.server.answer_s)
        answer = {"rms": 1.0, "zero_crossings": 0, "checksum": audio[0], "samples": 1, "transcript": "now"}
        body = json.dumps({**answer, "audio_bytes": len(audio)}).encode()
        with suppress(BrokenPipeError, ConnectionResetError):  # whoever asked has gone
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def inference_server(answer_s: float = 0.0) -> Iterator[InferenceServer]:
    """Serve while the block runs."""
    server = InferenceServer(answer_s)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
