"""Something that goes on beside a test: a loop on a thread, from `with` to its end."""

import threading


class Beside:
    """`drive` is the loop; it ends when `over` is set. What it raises, `with` raises at its end."""

    def __init__(self):
        self.over, self.failure = threading.Event(), None
        self.thread = threading.Thread(target=self.run, daemon=True)

    def drive(self):
        raise NotImplementedError

    def run(self):
        try:
            self.drive()
        except BaseException as e:  # pylint: disable=broad-except
            self.failure = e

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, value, trace):
        self.over.set()
        self.thread.join()
        if self.failure and not value:  # the test's own failure says more
            raise self.failure
