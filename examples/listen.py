"""Print what happens in a conversation: `python examples/listen.py TOKEN CONVERSATION_ID [ws://127.0.0.1:8000/cable]`."""

import json
import sys

import trio
from trio_websocket import open_websocket_url


async def listen(token: str, conversation: int, url: str) -> None:
    identifier = json.dumps({"channel": "ConversationChannel", "id": conversation})
    async with open_websocket_url(f"{url}?token={token}", subprotocols=["actioncable-v1-json"]) as socket:
        await socket.send_message(json.dumps({"command": "subscribe", "identifier": identifier}))
        while True:
            frame = json.loads(await socket.get_message())
            match frame.get("type"):
                case "confirm_subscription":
                    print(f"listening to conversation {conversation}")
                case "reject_subscription" | "disconnect":
                    sys.exit(f"the server refused: {frame}")
                case None:
                    event = frame["message"]
                    data = event["data"]
                    sender = data.get("sender", {}).get("name", "")
                    print(data.get("seq"), event["type"], sender, data.get("content") or "")


if __name__ == "__main__":
    token, conversation = sys.argv[1], int(sys.argv[2])
    trio.run(listen, token, conversation, sys.argv[3] if len(sys.argv) > 3 else "ws://127.0.0.1:8000/cable")
