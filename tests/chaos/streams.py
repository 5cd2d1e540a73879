"""The clients: fixed requests, what each answered, and whether that is right."""

import http.client
import json
import threading
import time

from client import Answer, HttpError, Stream, body_of
from prompts import prompt

SAMPLED = {"temperature": 0.9, "top_p": 0.95}
PREFILL = 9  # the request that an episode sends to be hit in its prompt
LEAVES = {10: 0.01, 11: 0.1}  # requests whose client hangs up after such a share of the positions


def requests(positions):
    """(prompt tokens, answer tokens, options); the longest has about so many positions."""

    def of(share):
        return max(4, int(positions * share))

    return [
        (prompt(of(0.01), 1), of(0.35), {}),
        (prompt(of(0.02), 2), of(0.25), {**SAMPLED, "seed": 11}),
        (prompt(of(0.3), 3), of(0.1), {}),
        (prompt(of(0.3), 4), of(0.1), {**SAMPLED, "seed": 12}),
        (prompt(of(0.05), 5), of(0.2), {"temperature": 0.7, "top_k": 20, "seed": 13}),
        (prompt(1, 6), of(0.3), {**SAMPLED, "seed": 14}),
        (prompt(of(0.6), 7), of(0.05), {}),
        (prompt(of(0.1), 8), of(0.02), {}),
        (prompt(of(0.04), 9), of(0.6), {}),
        (prompt(of(0.7), 10), of(0.02), {**SAMPLED, "seed": 15}),
        (prompt(of(0.2), 11), of(0.2), {}),
        (prompt(of(0.03), 12), of(0.3), {**SAMPLED, "seed": 16}),
    ]


class Follower(threading.Thread):
    """Sends one request and reads its stream to the end."""

    def __init__(self, client, index, request, leave_after=None):
        super().__init__(daemon=True)
        self.leave_after, self.left = leave_after, False
        self.client, self.index, self.request = client, index, request
        self.answer, self.errors, self.done = Answer(), [], False
        self.finished, self.id = threading.Event(), None
        self.longest_gap = 0.0  # between two events; the first may have waited for others
        self.start()

    def run(self):
        tokens, n, options = self.request
        try:
            stream = Stream(self.client, body_of(tokens, n, stream=True, **options))
            self.answer, last = stream.answer, None
            for event in stream:
                now = time.monotonic()
                self.longest_gap = max(self.longest_gap, now - (last or now))
                last = now
                self.id = event.get("id", self.id)
                if "error" in event:
                    self.errors.append(event["error"].get("message", "?"))
                if self.leave_after and len(self.answer.tokens) >= self.leave_after:
                    self.left = True
                    break
            self.done = stream.done
            stream.close()
        except HttpError as e:
            self.errors.append(str(e))
        except (OSError, http.client.HTTPException, json.JSONDecodeError, AssertionError) as e:
            self.errors.append(f"transport: {type(e).__name__}: {e}")
        finally:
            self.finished.set()

    def was_told(self):
        """It ended with the word that it may be wrong."""
        words = ("computed wrong bits", "compute different bits")
        return len(self.errors) == 1 and any(w in self.errors[0] for w in words)

    def verdict(self, expected, may_refuse, doubted=False, damaged=False):
        """ "same" (as far as the client wanted it), "refused", "doubted" (the leader has said that it
        may be wrong), or a sentence that says what is wrong. `damaged`: weights were."""
        tokens = self.answer.tokens
        if not self.finished.is_set():
            return f"hangs after {len(tokens)} of {len(expected)} tokens"
        if doubted:
            return "doubted"
        wrong = next((i for i, (a, b) in enumerate(zip(tokens, expected)) if a != b), None)
        if wrong is not None and self.answer.suspect:
            return "doubted"
        if damaged and len(self.errors) == 1 and "not finite" in self.errors[0]:
            return "doubted"
        if wrong is not None:
            return f"token {wrong} is {tokens[wrong]}, undisturbed {expected[wrong]}"
        if len(tokens) > len(expected):
            return f"{len(tokens)} tokens, undisturbed {len(expected)}"
        if not self.errors and (self.left or self.done and len(tokens) == len(expected)):
            return "same"
        if len(self.errors) == 1 and "no cluster to serve it" in self.errors[0]:
            if may_refuse:
                return "refused"
            return f"refused though workers were there: {self.errors[0]}"
        if self.errors:
            return f"{len(self.errors)} errors: {'; '.join(self.errors)}"
        return f"ended after {len(tokens)} of {len(expected)} tokens, done={self.done}"
