"""A process that stands still for most of the time: SIGSTOP and SIGCONT by turns."""

import os
import signal
import threading


class Halting:
    """While it is entered, `pid` is stopped for stop_ms, then runs for run_ms, again and again."""

    def __init__(self, pid, stop_ms=90, run_ms=10):
        self.pid, self.stop_s, self.run_s = pid, stop_ms / 1e3, run_ms / 1e3
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.drive, daemon=True)

    def signal(self, number):
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            self.over.set()

    def drive(self):
        while not self.over.is_set():
            self.signal(signal.SIGSTOP)
            self.over.wait(self.stop_s)
            self.signal(signal.SIGCONT)
            self.over.wait(self.run_s)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, value, trace):
        self.over.set()
        self.thread.join()
        self.signal(signal.SIGCONT)
