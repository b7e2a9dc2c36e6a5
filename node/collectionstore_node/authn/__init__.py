"""Authentication: from what a request brings to its caller. docs/reference/authentication.md describes it.

- `authenticator.py`  finds callers, remembers what was checked, and slows guesses
- `evaluation.py`     whether a proof holds now, and who has it
- `identities.py`     proofs, and callers by them. Pure
- `headers.py`        the Authorization header. Pure
- `certificates.py`   who the holder of a client certificate is. Pure
- `jwts.py` `keysets.py` `mapping.py`  tokens of others: verified, by which keys, and who their bearers are here. Pure
- `key_sources.py` `fetching.py`  the keys of issuers: kept, rotated, and fetched from files, URLs and the API server
- `passwords.py`      argon2id beside the event loop
- `slowing.py`        waits behind failed attempts. Pure
- `directory.py`      what is asked of the replicated state
- `refusals.py`       why a credential is refused

A request goes to `Authenticator.identify` once per credential; then its connection knows the caller, and asks no more
than whether access control, trust or keys have changed since (`epoch`). `api.http.guard` is the other half: which
request is asked, what a client is told, and the end of what lasts longer than its credential.

Invariants:
- who is refused learns that, and not why: one text, one status, and no difference in time that a secret makes;
- a credential that is refused is never replaced by a weaker one that came with it;
- no secret is kept: not of tokens, not of passwords, and headers only where their connection holds them anyway;
- every table is bounded, and what is made up by strangers costs a bounded time of the loop, threads and the network.
"""
