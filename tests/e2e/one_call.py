"""An agent of one model call, as a user would write it. Usage: one_call.py BASE_URL PROMPT."""

import sys

from anthropic import Anthropic

client = Anthropic(base_url=sys.argv[1], api_key="test")
answer = client.messages.create(
    model="claude-sonnet-4-6", max_tokens=100, messages=[{"role": "user", "content": sys.argv[2]}]
)
print(answer.content[0].text)
