"""A finished adapter on the Hub, with a card: only when asked, private unless told otherwise.

    url = push(run_folder, exported.peft, "me/my-cat")

card.py: the model card. push.py: the upload.
"""

from lora.hub.card import model_card
from lora.hub.push import PushFailed, push

__all__ = ["PushFailed", "model_card", "push"]
