"""An engine inside a trio program: `python examples/embed.py [sqlite:///demo.db]` (a database that `tertulia demo` has
filled, and that no server has open)."""

import sys

import trio

from tertulia import SendMessage, System, open_engine


async def main(database: str) -> None:
    async with open_engine(database) as engine:
        conversation = engine.conversation(account_id=1, conversation_id=1)
        sent = await conversation.ask(SendMessage(System(1), "Good morning", client_id="greeting-1"))

        async with engine.follow(System(1), 1, after=0) as events:  # from the beginning; after=None: from now on
            async for event in events:
                print(event.seq, event.type)
                if event.seq == sent.message.seq:
                    break


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "sqlite:///demo.db")
