"""The JSON of the REST interface, as JSON Schema (2020-12, which OpenAPI 3.1 takes). Constants."""

from typing import Any, Final

Schema = dict[str, Any]

_TEXT: Final[Schema] = {"type": "string"}
_TEXT_OR_NULL: Final[Schema] = {"type": ["string", "null"]}
_SWITCH: Final[Schema] = {"type": "boolean"}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_TIME: Final[Schema] = {"type": "string", "format": "date-time"}
_TIME_OR_NULL: Final[Schema] = {"type": ["string", "null"], "format": "date-time"}
_STATE: Final[Schema] = {"type": "string", "pattern": "^b3-[0-9a-f]{64}$"}
_RULE: Final[Schema] = {"type": "string", "description": "ACTIONS:PATTERN", "examples": ["read,push:maps"]}
_KIND: Final[Schema] = {"enum": ["http", "nfs"]}
_NEXT: Final[Schema] = {"type": "string", "description": "page_token of the next page; empty: this is the last"}


def _object(needed: Schema, optional: Schema | None = None) -> Schema:
    return {
        "type": "object",
        "properties": {**needed, **(optional or {})},
        "required": [*needed],
        "additionalProperties": False,
    }


def _listed(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_TOKEN: Final[Schema] = {
    "name": _TEXT,
    "id": _TEXT,
    "kind": _KIND,
    "rules": _listed(_RULE),
    "owner": {**_TEXT_OR_NULL, "description": "user:NAME, who made it; null: somebody with the store's credentials"},
    "state": {"enum": ["good", "revoked", "expired"]},
    "created": _TIME,
    "expires": _TIME_OR_NULL,
    "revoked": _TIME_OR_NULL,
    "last_used": {**_TIME_OR_NULL, "description": "to some ten minutes"},
}

SCHEMAS: Final[dict[str, Schema]] = {
    "Problem": {
        "type": "object",
        "description": "RFC 9457",
        "properties": {"type": _TEXT, "title": _TEXT, "status": _COUNT, "detail": _TEXT, "line": _COUNT},
        "required": ["type", "title", "status", "detail"],
    },
    "WhoAmI": _object(
        {
            "principal": {**_TEXT, "examples": ["user:ada", "token:ci", "anonymous"]},
            "kind": {"enum": ["user", "token", "anonymous"]},
            "name": _TEXT,
            "groups": _listed(_TEXT),
            "owner": {**_TEXT_OR_NULL, "description": "of a token: the user who made it"},
            "rules": {**_listed(_RULE), "description": "what is allowed at most; denials take from it"},
            "admin": {**_SWITCH, "description": "whether everything may be administered"},
            "login": {**_SWITCH, "description": "whether this gateway has login; if not, all is allowed to everybody"},
        }
    ),
    "Login": _object(
        {
            "login": _SWITCH,
            "basic": {**_SWITCH, "description": "users have passwords"},
            "token": {**_SWITCH, "description": "tokens are taken"},
            "certificate": {**_SWITCH, "description": "client certificates are taken"},
            "oidc": {
                "oneOf": [
                    {"type": "null"},
                    _object(
                        {
                            "issuer": _TEXT,
                            "client_id": _TEXT,
                            "audience": {**_TEXT, "description": "whom tokens must be meant for"},
                            "scopes": _listed(_TEXT),
                        }
                    ),
                ]
            },
        }
    ),
    "Token": _object(_TOKEN),
    "NewToken": _object({**_TOKEN, "token": {**_TEXT, "description": "the token itself, which is shown this once"}}),
    "Tokens": _object({"tokens": _listed(_ref("Token")), "next_page_token": _NEXT}),
    "TokenWish": _object(
        {"name": _TEXT, "rules": {**_listed(_RULE), "minItems": 1, "maxItems": 64}},
        {"expires": {**_TEXT_OR_NULL, "examples": ["15m", "12h", "30d", "2w"]}, "kind": _KIND},
    ),
    "Policy": _object({"policy": {**_TEXT, "description": "TOML"}, "changed": _TIME_OR_NULL, "by": _TEXT}),
    "PolicyWish": _object({"policy": {**_TEXT, "description": "TOML"}}),
    "DatasetEntry": _object({"name": _TEXT, "href": _TEXT}),
    "Datasets": _object({"datasets": _listed(_ref("DatasetEntry")), "next_page_token": _NEXT}),
    "Dataset": _object({"name": _TEXT, "href": _TEXT, "tags": _COUNT, "created": _TIME, "changed": _TIME}),
    "Tag": _object(
        {
            "tag": _TEXT,
            "kind": {"enum": ["version", "channel"]},
            "manifest": _STATE,
            "size": {**_COUNT, "description": "bytes of all files"},
            "files": _COUNT,
            "time": {**_TIME, "description": "when it came to name this state"},
            "href": _TEXT,
        }
    ),
    "Tags": _object({"dataset": _TEXT, "tags": _listed(_ref("Tag")), "next_page_token": _NEXT}),
    "TagWish": {
        **_object(
            {},
            {
                "manifest": {"type": "string", "pattern": "^b3-[0-9a-f]{12,64}$"},
                "reference": {**_TEXT, "examples": ["maps:1.0.0", "maps@^1.2"]},
                "message": {**_TEXT_OR_NULL, "description": "for the dataset's history"},
            },
        ),
        "oneOf": [{"required": ["manifest"]}, {"required": ["reference"]}],
    },
    "OpenApi": {"type": "object"},
}
