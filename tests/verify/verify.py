"""Reads messages, one JSON object a line, and verifies each with the official package of PyPI."""

import json
import sys

from standardwebhooks.webhooks import Webhook

for line in sys.stdin:
    message = json.loads(line)
    Webhook(message["secret"]).verify(message["body"], message["headers"], json_parse=False)
