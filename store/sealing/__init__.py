"""Encryption at rest: keys, names and bytes of an encrypted store (docs/format.md, Sealing).

`secret_keys` holds the store's secrets and what is derived from them, `envelope` how they stand wrapped in
`aetherfs.json`, `key_source` who unwraps them, `segments` how objects are sealed, `names` how their keys are hidden.
`store.objects.sealed` puts them in front of an object store; nothing else in the store knows of any of it.
"""
