"""What workers of a gateway share by their board: who guessed wrong, and which token was revoked.

Called once, before anything is served.
"""

from auth.throttle import Throttle
from gateway.access.tokens import Tokens
from gateway.board import Board
from store.objects.base import ObjectStore


def shared_throttle(board: Board) -> Throttle:
    """Return a throttle that counts what goes wrong at the other workers too."""
    throttle = Throttle(
        on_failure=lambda key: board.tell("failed", key), on_success=lambda key: board.tell("succeeded", key)
    )
    board.hear("failed", throttle.failed)
    board.hear("succeeded", throttle.succeeded)
    return throttle


def shared_tokens(objects: ObjectStore, board: Board) -> Tokens:
    """Return a store's tokens; one that another worker revokes is asked for again at once."""
    tokens = Tokens(objects, on_revoke=lambda token: board.tell("revoked", token))
    board.hear("revoked", tokens.forget)
    return tokens
