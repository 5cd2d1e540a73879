"""A link that can be made slow, where the kernel has no netem: passes one TCP port on to another.

    relay.py LISTEN-PORT HOST:PORT DELAY-MS

SIGUSR1: everything towards the connecting side comes DELAY-MS later from now on; SIGUSR2: no longer.
Bytes keep their order. When one side ends, so does the other.
"""

import asyncio
import signal
import sys


class Relay:
    def __init__(self, host, port, delay):
        self.host, self.port, self.delay = host, port, delay
        self.slow = False

    async def carry(self, reader, writer, delayed):
        """Bytes from reader to writer, each chunk at its time."""
        loop, queue = asyncio.get_running_loop(), asyncio.Queue()
        waiting = 0  # chunks in the queue and the one that deliver() holds

        async def deliver():
            nonlocal waiting
            while (item := await queue.get()) is not None:
                due, data = item
                if due > loop.time():
                    await asyncio.sleep(due - loop.time())
                if not writer.is_closing():
                    writer.write(data)
                waiting -= 1

        delivery = asyncio.create_task(deliver())
        try:
            while (data := await reader.read(65536)) and not writer.is_closing():
                late = self.delay if delayed and self.slow else 0
                if late == 0 and waiting == 0:
                    writer.write(data)  # without a detour through the queue
                else:
                    waiting += 1
                    queue.put_nowait((loop.time() + late, data))
        except OSError:
            pass
        queue.put_nowait(None)
        await delivery
        writer.close()

    async def connected(self, reader, writer):
        try:
            far_reader, far_writer = await asyncio.open_connection(self.host, self.port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(
            self.carry(reader, far_writer, False), self.carry(far_reader, writer, True)
        )


async def main():
    host, port = sys.argv[2].rsplit(":", 1)
    relay = Relay(host, int(port), float(sys.argv[3]) / 1000)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, lambda: setattr(relay, "slow", True))
    loop.add_signal_handler(signal.SIGUSR2, lambda: setattr(relay, "slow", False))
    server = await asyncio.start_server(relay.connected, "127.0.0.1", int(sys.argv[1]))
    print("listening", flush=True)
    await server.serve_forever()


asyncio.run(main())
