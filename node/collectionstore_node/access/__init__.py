"""Access control as values: who calls, which roles there are, and what a caller may do. Pure: no state, clock or loop.

- `callers.py` `current.py`   the caller of a request, and of what runs now
- `verbs.py` `modes.py`       what may be done to which kind of resource; whether refusals are enforced
- `bodies.py`                 checked JSON of roles, users and the configuration, with pointers to mistakes
- `roles.py` `builtin.py`     roles and their rules; those that every store has
- `users.py` `configuration.py` `limits.py`  users, the configuration of the store, and rates
- `masks.py` `rights.py`      what is shown of a document; the compiled rights of one caller
- `tokens.py`                 the text of bearer tokens, and the digest of their secrets
- `policy.py`                 from roles and users to the rights of a caller
- `inheritance.py`            which roles may inherit which
- `administration.py`         who could still administer after a change

These are many modules for one room, because rules, rights and what is shown change together.

The evaluation, for a verb on a resource:
1. a deny rule without `filter` and `fields` that names it refuses, whatever else allows it;
2. otherwise it needs one allow rule that names it;
3. `filter` and `fields` of the rules that name a collection say which documents of it, and what of them: a document is
   shown if a rule that allows it matches and no rule that denies it does, with the fields that one of the former shows
   and none of the deny rules hides.

Roles, users and configurations are stored as the JSON that was given, and are parsed again wherever they are read, and
where a command is applied: what is accepted is part of a feature level, as what apply does is (`statemachine.levels`).
"""
