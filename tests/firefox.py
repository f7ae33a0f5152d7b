"""A second engine: Firefox, driven through WebDriver BiDi, which it speaks itself."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from typing import Any

import websocket

WAIT = 120  # seconds for one answer


def find_firefox() -> str | None:
    """Return the path of a Firefox on the PATH, or None."""
    return shutil.which("firefox-esr") or shutil.which("firefox")


class Firefox:
    """One window of a Firefox; what its pages log as errors is in `complaints`."""

    def __init__(self, address: str) -> None:
        self._socket = websocket.create_connection(address, timeout=WAIT, suppress_origin=True)
        self._numbers = count(1)
        self.complaints: list[str] = []
        self.send("session.new", capabilities={})
        self.send("session.subscribe", events=["log.entryAdded"])
        self._context = self.send("browsingContext.getTree")["contexts"][0]["context"]

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def send(self, method: str, **params: Any) -> dict:
        """Return the result of a command; RuntimeError where the browser refuses it."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while (answer := json.loads(self._socket.recv())).get("id") != number:
            said = answer.get("params", {})
            if answer.get("method") == "log.entryAdded" and said["level"] == "error":
                self.complaints.append(said["text"])
        if answer["type"] == "error":
            raise RuntimeError(f"{method}: {answer['message']}")
        return answer["result"]

    def open(self, url: str) -> None:
        """Load a page."""
        self.send("browsingContext.navigate", context=self._context, url=url, wait="complete")

    def run(self, function: str) -> Any:
        """Return what a JavaScript function returns, or the promise that it returns, as JSON."""
        told = f"Promise.resolve(({function})()).then(value => JSON.stringify(value ?? null))"
        target = {"context": self._context}
        found = self.send("script.evaluate", expression=told, target=target, awaitPromise=True)
        if found["type"] == "exception":
            raise RuntimeError(found["exceptionDetails"]["text"])
        return json.loads(found["result"]["value"])

    def wait_for(self, condition: str) -> None:
        """Return once a JavaScript expression is true, asked at each frame."""
        self.run(
            f"""() => new Promise((done, failed) => {{
                const end = setTimeout(() => failed(new Error({json.dumps(condition)})), 60000);
                const ask = () => {{
                    if (!({condition})) return setTimeout(ask, 20);
                    clearTimeout(end);
                    done();
                }};
                ask();
            }})"""
        )


@contextmanager
def firefox(path: str) -> Iterator[Firefox]:
    """Yield a Firefox with a profile of its own, which is ended with the block."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [path, "--headless", "--no-remote", "--profile", profile]
        command += ["--remote-debugging-port", "0", "about:blank"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            listening = (line for line in process.stderr if "BiDi listening on " in line)
            address = next(listening).split("listening on ")[1].strip()
            with closing(Firefox(f"{address}/session")) as opened:
                yield opened
        finally:
            process.terminate()
            process.wait()
            process.stderr.close()
