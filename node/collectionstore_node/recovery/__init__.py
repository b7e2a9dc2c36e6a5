"""Recovery from a lost quorum: the data directory of one survivor becomes that of a new cluster, once.

`instruction` is what is asked for, `mark` what a directory records of it, `rewrite` does it; `adoption` does it to a
copy of a directory, of which nothing is known before. Nothing here talks to other members: which survivor is chosen,
and that the others are stopped, is the operator's part.
"""

from collectionstore_node.recovery.adoption import adopt
from collectionstore_node.recovery.instruction import Instruction
from collectionstore_node.recovery.rewrite import NewIdentity, Recovered, recover

__all__ = ["Instruction", "NewIdentity", "Recovered", "adopt", "recover"]
