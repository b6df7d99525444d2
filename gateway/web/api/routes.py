"""The table of the REST interface: which method of which path is answered by which function, and what that says.

`{name}` in a path stands for a dataset (`maps`, `@geo/city`, `@geo%2Fcity`) or a token, `{tag}` for a tag. Constants
and pure functions.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from dav.reply import Reply
from gateway.web.api import access, datasets, tags, tokens
from gateway.web.api.call import Call
from gateway.web.api.context import Context

Handler = Callable[[Context, Call], Reply]

LIST: Final = ("page_token", "page_size")
WRITE: Final = ("If-Match", "If-None-Match")
READ: Final = ("If-None-Match",)


class Route(NamedTuple):
    """A method of a path."""

    method: str
    path: str
    handler: Handler
    summary: str
    answers: dict[int, str]  # status -> name of a schema; empty: no body
    wish: str = ""  # name of the body's schema
    query: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()  # of the header, besides those that every request has
    problems: tuple[int, ...] = ()  # besides those that every request may meet
    public: bool = False  # asked before login

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the parts of the path."""
        return tuple(self.path.strip("/").split("/"))


ROUTES: Final = (
    Route("GET", "/whoami", access.whoami, "Who asks, and what they may do at most", {200: "WhoAmI"}),
    Route("GET", "/login", access.login, "Which ways to log in there are", {200: "Login"}, public=True),
    Route("GET", "/tokens", tokens.list_tokens, "The tokens that whoever asks looks after", {200: "Tokens"},
          query=LIST),
    Route("POST", "/tokens", tokens.create_token, "Make a token", {201: "NewToken"}, wish="TokenWish",
          problems=(403, 409, 422)),
    Route("GET", "/tokens/{name}", tokens.get_token, "One token", {200: "Token"}, problems=(404,)),
    Route("DELETE", "/tokens/{name}", tokens.revoke_token, "Revoke a token", {204: ""}, problems=(404,)),
    Route("GET", "/policy", access.get_policy, "The policy in the bucket", {200: "Policy", 304: ""}, fields=READ,
          problems=(403, 404)),
    Route("PUT", "/policy", access.put_policy, "Replace the policy in the bucket", {200: "Policy"}, wish="PolicyWish",
          fields=WRITE, problems=(403, 404, 412, 422, 428)),
    Route("GET", "/datasets", datasets.list_datasets, "The datasets that whoever asks may read", {200: "Datasets"},
          query=LIST),
    Route("GET", "/datasets/{name}", datasets.get_dataset, "One dataset", {200: "Dataset"}, problems=(404,)),
    Route("GET", "/datasets/{name}/tags", tags.list_tags, "A dataset's tags, as they were made", {200: "Tags"},
          query=LIST, problems=(404,)),
    Route("GET", "/datasets/{name}/tags/{tag}", tags.get_tag, "What a tag names", {200: "Tag", 304: ""}, fields=READ,
          problems=(404,)),
    Route("PUT", "/datasets/{name}/tags/{tag}", tags.put_tag, "Make a tag, or move a channel", {200: "Tag", 201: "Tag"},
          wish="TagWish", fields=WRITE, problems=(403, 404, 409, 412, 422)),
    Route("DELETE", "/datasets/{name}/tags/{tag}", tags.delete_tag, "Remove a tag", {204: ""}, fields=WRITE,
          problems=(403, 404, 412)),
)  # fmt: skip


def match(names: tuple[str, ...]) -> tuple[dict[str, Route], tuple[str, ...]]:
    """Find the methods of a path, and what stands in its places.

    Args:
        names: of the path below /api/v1, decoded.

    Returns:
        Method -> route; empty: there is no such path.
    """
    if len(names) > 2 and names[0] == "datasets" and names[1].startswith("@") and "/" not in names[1]:
        names = (names[0], f"{names[1]}/{names[2]}", *names[3:])
    fitting = [route for route in ROUTES if _fits(route.parts, names)]
    places = (
        tuple(name for part, name in zip(fitting[0].parts, names, strict=True) if part[0] == "{") if fitting else ()
    )
    return {route.method: route for route in fitting}, places


def _fits(parts: tuple[str, ...], names: tuple[str, ...]) -> bool:
    return len(parts) == len(names) and all(
        part == name or part[0] == "{" for part, name in zip(parts, names, strict=True)
    )
