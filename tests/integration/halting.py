"""A process that stands still for most of the time: SIGSTOP and SIGCONT by turns."""

import os
import signal

from beside import Beside


class Halting(Beside):
    """While it is entered, `pid` is stopped for stop_ms, then runs for run_ms, again and again."""

    def __init__(self, pid, stop_ms=90, run_ms=10):
        super().__init__()
        self.pid, self.stop_s, self.run_s = pid, stop_ms / 1e3, run_ms / 1e3

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
