"""Reads messages, one JSON object a line, and verifies those for Slack and Opsgenie with packages of PyPI."""

import json
import sys

from opsgenie_sdk import CreateAlertPayload
from slack_sdk.models.blocks import Block


def slack(body):
    assert set(body) == {"text", "blocks"}, body.keys()
    blocks = Block.parse_all(body["blocks"])
    # Each to_dict checks the rules of its class, and leaves out what the class does not know.
    assert [block.to_dict() for block in blocks] == body["blocks"], "a block has fields that Slack does not know"
    assert len(blocks) <= 50
    for block in body["blocks"]:
        for field in block.get("fields", []):
            assert 0 < len(field["text"]) <= 2000


def opsgenie(body):
    # Refuses fields that the API does not know.
    CreateAlertPayload(**body)


verifiers = {"slack": slack, "opsgenie": opsgenie}
verified = 0
for line in sys.stdin:
    message = json.loads(line)
    if message["receiver"] in verifiers:
        try:
            verifiers[message["receiver"]](message["body"])
        except Exception as error:
            sys.exit(f"{message['receiver']} of {message['event']}: {error}\n{line}")
        verified += 1
print(verified)
