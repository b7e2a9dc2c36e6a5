"""What updates make of documents, case by case. A row is a document, an update, and the document that it becomes or the
reason why it does not.

The expected values are those of MongoDB's manual (its examples of each operator) and of its rules for missing fields,
arrays and types; those of the patches are RFC 6902 appendix A and RFC 7396 appendix A. The page
docs/reference/updates.md says where this store differs on purpose.
"""

from __future__ import annotations

from typing import Any

from collectionstore_node.documents.updates import Reason

Document = dict[str, Any]
Row = tuple[Document, Any, Document | Reason]
Filtered = tuple[Document, Any, list[Document], Document | Reason]
"""With array filters."""
Matched = tuple[Document, Document, Any, Document | Reason]
"""A document, the filter that it matches, the update."""

TYPE, PATH, RANGE, CONFLICT, SIZE, TEST = (
    Reason.TYPE,
    Reason.PATH,
    Reason.RANGE,
    Reason.CONFLICT,
    Reason.SIZE,
    Reason.TEST,
)
MAX = (1 << 63) - 1
MIN = -(1 << 63)
MOMENT_MS = 1_700_000_000_123

SINGLE: list[Row] = [
    # $bit
    ({"expdata": 13}, {"$bit": {"expdata": {"and": 10}}}, {"expdata": 8}),
    ({"expdata": 3}, {"$bit": {"expdata": {"or": 5}}}, {"expdata": 7}),
    ({"expdata": 1}, {"$bit": {"expdata": {"xor": 5}}}, {"expdata": 4}),
    ({"a": {"b": [0, 1]}}, {"$bit": {"a.b.1": {"or": 2, "and": -2}}}, {"a": {"b": [0, 2]}}),
    ({}, {"$bit": {"a.b": {"or": 5}}}, {"a": {"b": 5}}),
    ({"a": -1}, {"$bit": {"a": {"and": MAX}}}, {"a": MAX}),
    ({"a": MAX}, {"$bit": {"a": {"xor": -1}}}, {"a": MIN}),
    ({"a": 1.0}, {"$bit": {"a": {"or": 1}}}, TYPE),
    ({"a": True}, {"$bit": {"a": {"or": 1}}}, TYPE),
    ({"a": None}, {"$bit": {"a": {"or": 1}}}, TYPE),
    ({"a": MAX + 1}, {"$bit": {"a": {"and": 1}}}, RANGE),
    # $set
    ({}, {"$set": {"a": 1}}, {"a": 1}),
    ({"a": 1}, {"$set": {"a": None}}, {"a": None}),
    ({"a": 1}, {"$set": {"b": {"c": [1]}}}, {"a": 1, "b": {"c": [1]}}),
    (
        {
            "quantity": 250,
            "instock": True,
            "reorder": False,
            "details": {"model": "14QQ", "make": "Clothes Corp"},
            "tags": ["apparel", "clothing"],
            "ratings": [{"by": "Customer007", "rating": 4}],
        },
        {
            "$set": {
                "quantity": 500,
                "details": {"model": "2600", "make": "Fashionaires"},
                "tags": ["coats", "outerwear", "clothing"],
            }
        },
        {
            "quantity": 500,
            "instock": True,
            "reorder": False,
            "details": {"model": "2600", "make": "Fashionaires"},
            "tags": ["coats", "outerwear", "clothing"],
            "ratings": [{"by": "Customer007", "rating": 4}],
        },
    ),
    (
        {"details": {"model": "2600", "make": "Fashionaires"}},
        {"$set": {"details.make": "Kustom Kidz"}},
        {"details": {"model": "2600", "make": "Kustom Kidz"}},
    ),
    (
        {"tags": ["coats", "outerwear", "clothing"], "ratings": [{"by": "Customer007", "rating": 4}]},
        {"$set": {"tags.1": "rain gear", "ratings.0.rating": 2}},
        {"tags": ["coats", "rain gear", "clothing"], "ratings": [{"by": "Customer007", "rating": 2}]},
    ),
    ({}, {"$set": {"a.b.c": 1}}, {"a": {"b": {"c": 1}}}),
    ({}, {"$set": {"a.0": 1}}, {"a": {"0": 1}}),
    ({"a": []}, {"$set": {"a.0": 1}}, {"a": [1]}),
    ({"a": [1]}, {"$set": {"a.3": 4}}, {"a": [1, None, None, 4]}),
    ({"a": [1]}, {"$set": {"a.2.b": 4}}, {"a": [1, None, {"b": 4}]}),
    ({"a": {"0": "x"}}, {"$set": {"a.0": 1}}, {"a": {"0": 1}}),
    ({"a": [{"0": 1}]}, {"$set": {"a.0.0": 2}}, {"a": [{"0": 2}]}),
    ({"a": 1}, {"$set": {"a.b": 1}}, TYPE),
    ({"a": None}, {"$set": {"a.b": 1}}, TYPE),
    ({"a": "x"}, {"$set": {"a.0": 1}}, TYPE),
    ({"a": [1]}, {"$set": {"a.b": 1}}, TYPE),
    ({"a": [1]}, {"$set": {"a.01": 1}}, TYPE),
    ({"a": [1]}, {"$set": {"a.-1": 1}}, TYPE),
    ({"a": [1]}, {"$set": {"a.0.b": 1}}, TYPE),
    ({"a": []}, {"$set": {"a.500000": 1}}, SIZE),
    ({"a": 1}, {"$set": {}}, {"a": 1}),
    ({"b": 1, "a": 2}, {"$set": {"a": 3, "c": 4}}, {"b": 1, "a": 3, "c": 4}),
    ({"a": {"_x": 1}}, {"$set": {"a._x": 2}}, {"a": {"_x": 2}}),
    ({"a": 1.5}, {"$set": {"a": 1}}, {"a": 1}),
    ({"a": True}, {"$set": {"a": 1}}, {"a": 1}),
    # $setOnInsert: nothing, as the document is there
    ({"a": 1}, {"$set": {"a": 2}, "$setOnInsert": {"b": 1}}, {"a": 2}),
    ({"a": 1}, {"$setOnInsert": {"a.b.c": 1}}, {"a": 1}),
    # $unset
    ({"a": 1, "b": 2}, {"$unset": {"a": ""}}, {"b": 2}),
    (
        {"item": "chisel", "sku": "C001", "quantity": 4, "instock": True},
        {"$unset": {"quantity": "", "instock": ""}},
        {"item": "chisel", "sku": "C001"},
    ),
    ({"a": 1}, {"$unset": {"b": 1}}, {"a": 1}),
    ({"a": 1}, {"$unset": {"b.c.d": 1}}, {"a": 1}),
    ({"a": 1}, {"$unset": {"a.b": 1}}, {"a": 1}),
    ({"a": {"b": 1, "c": 2}}, {"$unset": {"a.b": True}}, {"a": {"c": 2}}),
    ({"a": {"b": 1}}, {"$unset": {"a.b": 0}}, {"a": {}}),
    ({"a": [1, 2, 3]}, {"$unset": {"a.1": 1}}, {"a": [1, None, 3]}),
    ({"a": [1]}, {"$unset": {"a.5": 1}}, {"a": [1]}),
    ({"a": [1]}, {"$unset": {"a.b": 1}}, {"a": [1]}),
    ({"a": [{"b": 1, "c": 2}]}, {"$unset": {"a.0.b": 1}}, {"a": [{"c": 2}]}),
    # $inc
    (
        {"sku": "abc123", "quantity": 10, "metrics": {"orders": 2, "ratings": 3.5}},
        {"$inc": {"quantity": -2, "metrics.orders": 1}},
        {"sku": "abc123", "quantity": 8, "metrics": {"orders": 3, "ratings": 3.5}},
    ),
    ({}, {"$inc": {"a": 5}}, {"a": 5}),
    ({}, {"$inc": {"a.b": 5.5}}, {"a": {"b": 5.5}}),
    ({"a": 1}, {"$inc": {"a": 0.5}}, {"a": 1.5}),
    ({"a": 1.5}, {"$inc": {"a": 1}}, {"a": 2.5}),
    ({"a": 1}, {"$inc": {"a": 1.0}}, {"a": 2.0}),
    ({"a": MAX - 1}, {"$inc": {"a": 1}}, {"a": MAX}),
    ({"a": MAX}, {"$inc": {"a": 1}}, RANGE),
    ({"a": MIN}, {"$inc": {"a": -1}}, RANGE),
    ({"a": (1 << 64) - 1}, {"$inc": {"a": 0}}, RANGE),
    ({"a": (1 << 64) - 1}, {"$inc": {"a": MIN}}, {"a": MAX}),
    ({"a": 1e308}, {"$inc": {"a": 1e308}}, RANGE),
    ({"a": 1 << 53}, {"$inc": {"a": 1}}, {"a": (1 << 53) + 1}),
    ({"a": 0.1}, {"$inc": {"a": 0.2}}, {"a": 0.30000000000000004}),
    ({"a": None}, {"$inc": {"a": 1}}, TYPE),
    ({"a": "1"}, {"$inc": {"a": 1}}, TYPE),
    ({"a": True}, {"$inc": {"a": 1}}, TYPE),
    ({"a": [1]}, {"$inc": {"a": 1}}, TYPE),
    ({"a": [1, 2]}, {"$inc": {"a.1": 3}}, {"a": [1, 5]}),
    ({"a": [1]}, {"$inc": {"a.2": 3}}, {"a": [1, None, 3]}),
    # $mul
    (
        {"item": "Hats", "price": 10.99, "quantity": 25},
        {"$mul": {"price": 1.25, "quantity": 2}},
        {"item": "Hats", "price": 13.7375, "quantity": 50},
    ),
    ({"item": "Unknown"}, {"$mul": {"price": 100}}, {"item": "Unknown", "price": 0}),
    ({"item": "Unknown"}, {"$mul": {"price": 1.5}}, {"item": "Unknown", "price": 0.0}),
    ({"a": 3}, {"$mul": {"a": 0.5}}, {"a": 1.5}),
    ({"a": 1 << 62}, {"$mul": {"a": 2}}, RANGE),
    ({"a": -(1 << 62)}, {"$mul": {"a": 2}}, {"a": MIN}),
    ({"a": 1e200}, {"$mul": {"a": 1e200}}, RANGE),
    ({"a": "x"}, {"$mul": {"a": 2}}, TYPE),
    ({"a": None}, {"$mul": {"a": 2}}, TYPE),
    # $min and $max
    ({"highScore": 800, "lowScore": 200}, {"$min": {"lowScore": 150}}, {"highScore": 800, "lowScore": 150}),
    ({"highScore": 800, "lowScore": 200}, {"$min": {"lowScore": 250}}, {"highScore": 800, "lowScore": 200}),
    ({"highScore": 800, "lowScore": 200}, {"$max": {"highScore": 950}}, {"highScore": 950, "lowScore": 200}),
    ({"highScore": 950, "lowScore": 200}, {"$max": {"highScore": 870}}, {"highScore": 950, "lowScore": 200}),
    ({}, {"$min": {"a": 5}}, {"a": 5}),
    ({}, {"$max": {"a.b": "x"}}, {"a": {"b": "x"}}),
    ({"a": 1}, {"$max": {"a": "x"}}, {"a": "x"}),
    ({"a": 1}, {"$min": {"a": "x"}}, {"a": 1}),
    ({"a": 1}, {"$min": {"a": None}}, {"a": None}),
    ({"a": None}, {"$max": {"a": -5}}, {"a": -5}),
    ({"a": "x"}, {"$max": {"a": True}}, {"a": True}),
    ({"a": [1]}, {"$max": {"a": {"b": 1}}}, {"a": [1]}),
    ({"a": 1}, {"$max": {"a": 1.0}}, {"a": 1}),
    ({"a": (1 << 53) + 1}, {"$max": {"a": float(1 << 53)}}, {"a": (1 << 53) + 1}),
    ({"a": [5]}, {"$min": {"a.0": 3}}, {"a": [3]}),
    ({"a": 1}, {"$min": {"a.b": 3}}, TYPE),
    # $currentDate
    ({}, {"$currentDate": {"a": True}}, {"a": "2023-11-14T22:13:20.123Z"}),
    ({"a": 1}, {"$currentDate": {"a": {"$type": "date"}}}, {"a": "2023-11-14T22:13:20.123Z"}),
    (
        {"status": "a", "lastModified": "x"},
        {
            "$currentDate": {"lastModified": True, "cancellation.date": {"$type": "timestamp"}},
            "$set": {"cancellation.reason": "user request", "status": "D"},
        },
        {
            "status": "D",
            "lastModified": "2023-11-14T22:13:20.123Z",
            "cancellation": {"date": MOMENT_MS, "reason": "user request"},
        },
    ),
    # $rename
    (
        {"nmae": {"first": "george", "last": "washington"}, "alias": ["x"]},
        {"$rename": {"nmae": "name"}},
        {"alias": ["x"], "name": {"first": "george", "last": "washington"}},
    ),
    (
        {"name": {"first": "a", "last": "b"}},
        {"$rename": {"name.first": "name.fname"}},
        {"name": {"last": "b", "fname": "a"}},
    ),
    (
        {"name": {"last": "lincoln"}, "bio": {}},
        {"$rename": {"name.last": "contact.lname"}},
        {"name": {}, "bio": {}, "contact": {"lname": "lincoln"}},
    ),
    ({"a": 1}, {"$rename": {"b": "c"}}, {"a": 1}),
    ({"a": 1}, {"$rename": {"a.b": "c"}}, {"a": 1}),
    ({"a": 1, "b": 2}, {"$rename": {"a": "b"}}, {"b": 1}),
    ({"a": 1, "b": 2, "c": 3}, {"$rename": {"a": "x", "b": "y"}}, {"c": 3, "x": 1, "y": 2}),
    ({"a": [{"b": 1}]}, {"$rename": {"a.0.b": "c"}}, TYPE),
    ({"a": 1, "b": [0]}, {"$rename": {"a": "b.0"}}, TYPE),
    ({"a": 1, "b": 2}, {"$rename": {"a": "b.c"}}, TYPE),
    ({"a": None}, {"$rename": {"a": "b"}}, {"b": None}),
    # several operators
    (
        {"a": 1, "b": [1]},
        {"$inc": {"a": 1}, "$push": {"b": 2}, "$set": {"c": 1}, "$unset": {"d": 1}},
        {"a": 2, "b": [1, 2], "c": 1},
    ),
    ({"a": {}}, {"$set": {"a.b": 1}, "$inc": {"a.c": 1}}, {"a": {"b": 1, "c": 1}}),
]

ARRAYS: list[Row] = [
    # $push
    ({"scores": [44, 78, 38, 80]}, {"$push": {"scores": 89}}, {"scores": [44, 78, 38, 80, 89]}),
    (
        {"name": "joe", "scores": [44, 78]},
        {"$push": {"scores": {"$each": [90, 92, 85]}}},
        {"name": "joe", "scores": [44, 78, 90, 92, 85]},
    ),
    ({}, {"$push": {"a": 1}}, {"a": [1]}),
    ({}, {"$push": {"a.b": {"$each": []}}}, {"a": {"b": []}}),
    ({"a": [1]}, {"$push": {"a": [2, 3]}}, {"a": [1, [2, 3]]}),
    ({"a": [1]}, {"$push": {"a": {"b": 1}}}, {"a": [1, {"b": 1}]}),
    ({"a": 1}, {"$push": {"a": 1}}, TYPE),
    ({"a": None}, {"$push": {"a": 1}}, TYPE),
    ({"a": {}}, {"$push": {"a": 1}}, TYPE),
    ({"a": [[1], [2]]}, {"$push": {"a.1": 3}}, {"a": [[1], [2, 3]]}),
    (
        {"quizzes": [{"wk": 1, "score": 10}, {"wk": 2, "score": 8}, {"wk": 3, "score": 5}, {"wk": 4, "score": 6}]},
        {
            "$push": {
                "quizzes": {
                    "$each": [{"wk": 5, "score": 8}, {"wk": 6, "score": 7}, {"wk": 7, "score": 6}],
                    "$sort": {"score": -1},
                    "$slice": 3,
                }
            }
        },
        {"quizzes": [{"wk": 1, "score": 10}, {"wk": 2, "score": 8}, {"wk": 5, "score": 8}]},
    ),
    # $position
    ({"scores": [100]}, {"$push": {"scores": {"$each": [50, 60, 70], "$position": 0}}}, {"scores": [50, 60, 70, 100]}),
    (
        {"scores": [50, 60, 70, 100]},
        {"$push": {"scores": {"$each": [20, 30], "$position": 2}}},
        {"scores": [50, 60, 20, 30, 70, 100]},
    ),
    (
        {"scores": [50, 60, 20, 30, 70, 100]},
        {"$push": {"scores": {"$each": [90, 80], "$position": -2}}},
        {"scores": [50, 60, 20, 30, 90, 80, 70, 100]},
    ),
    ({"a": [1]}, {"$push": {"a": {"$each": [2], "$position": 99}}}, {"a": [1, 2]}),
    ({"a": [1]}, {"$push": {"a": {"$each": [2], "$position": -99}}}, {"a": [2, 1]}),
    ({"a": [1]}, {"$push": {"a": {"$each": [2], "$position": 0.0}}}, {"a": [2, 1]}),
    # $slice
    (
        {"scores": [40, 50, 60]},
        {"$push": {"scores": {"$each": [80, 78, 86], "$slice": -5}}},
        {"scores": [50, 60, 80, 78, 86]},
    ),
    ({"scores": [89, 90]}, {"$push": {"scores": {"$each": [100, 20], "$slice": 3}}}, {"scores": [89, 90, 100]}),
    ({"scores": [89, 70, 100, 20]}, {"$push": {"scores": {"$each": [], "$slice": -3}}}, {"scores": [70, 100, 20]}),
    ({"scores": [89, 70]}, {"$push": {"scores": {"$each": [1], "$slice": 0}}}, {"scores": []}),
    ({"a": [1]}, {"$push": {"a": {"$each": [2], "$slice": -9}}}, {"a": [1, 2]}),
    # $sort
    (
        {"quizzes": [{"id": 1, "score": 6}, {"id": 2, "score": 9}]},
        {
            "$push": {
                "quizzes": {
                    "$each": [{"id": 3, "score": 8}, {"id": 4, "score": 7}, {"id": 5, "score": 6}],
                    "$sort": {"score": 1},
                }
            }
        },
        {
            "quizzes": [
                {"id": 1, "score": 6},
                {"id": 5, "score": 6},
                {"id": 4, "score": 7},
                {"id": 3, "score": 8},
                {"id": 2, "score": 9},
            ]
        },
    ),
    (
        {"tests": [89, 70, 89, 50]},
        {"$push": {"tests": {"$each": [40, 60], "$sort": 1}}},
        {"tests": [40, 50, 60, 70, 89, 89]},
    ),
    ({"tests": [89, 70, 100, 20]}, {"$push": {"tests": {"$each": [], "$sort": -1}}}, {"tests": [100, 89, 70, 20]}),
    (
        {"a": [3, "b", None, True, [1], {"x": 1}, 1.5]},
        {"$push": {"a": {"$each": [], "$sort": 1}}},
        {"a": [None, 1.5, 3, "b", {"x": 1}, [1], True]},
    ),
    (
        {"a": [{"x": {"y": 2}}, {"x": {"y": 1}}, {}, 5]},
        {"$push": {"a": {"$each": [], "$sort": {"x.y": 1}}}},
        {"a": [{}, 5, {"x": {"y": 1}}, {"x": {"y": 2}}]},
    ),
    (
        {"a": [{"x": 1, "y": 1}, {"x": 1, "y": 2}]},
        {"$push": {"a": {"$each": [], "$sort": {"x": 1, "y": -1}}}},
        {"a": [{"x": 1, "y": 2}, {"x": 1, "y": 1}]},
    ),
    # $addToSet
    ({"letters": ["a", "b"]}, {"$addToSet": {"letters": ["c", "d"]}}, {"letters": ["a", "b", ["c", "d"]]}),
    (
        {"item": "polarizing_filter", "tags": ["electronics", "camera"]},
        {"$addToSet": {"tags": "accessories"}},
        {"item": "polarizing_filter", "tags": ["electronics", "camera", "accessories"]},
    ),
    ({"tags": ["electronics", "camera"]}, {"$addToSet": {"tags": "camera"}}, {"tags": ["electronics", "camera"]}),
    (
        {"item": "cable", "tags": ["electronics", "supplies"]},
        {"$addToSet": {"tags": {"$each": ["camera", "electronics", "accessories"]}}},
        {"item": "cable", "tags": ["electronics", "supplies", "camera", "accessories"]},
    ),
    ({}, {"$addToSet": {"a": 1}}, {"a": [1]}),
    ({}, {"$addToSet": {"a": {"$each": [1, 1, 1.0, 2]}}}, {"a": [1, 2]}),
    ({"a": [1]}, {"$addToSet": {"a": 1.0}}, {"a": [1]}),
    ({"a": [1]}, {"$addToSet": {"a": True}}, {"a": [1, True]}),
    ({"a": [1]}, {"$addToSet": {"a": "1"}}, {"a": [1, "1"]}),
    ({"a": [{"x": 1, "y": 2}]}, {"$addToSet": {"a": {"y": 2, "x": 1}}}, {"a": [{"x": 1, "y": 2}, {"y": 2, "x": 1}]}),
    ({"a": [1, 1]}, {"$addToSet": {"a": 2}}, {"a": [1, 1, 2]}),
    ({"a": [None]}, {"$addToSet": {"a": None}}, {"a": [None]}),
    ({"a": "x"}, {"$addToSet": {"a": 1}}, TYPE),
    # $pull
    (
        {
            "fruits": ["apples", "pears", "oranges", "grapes", "bananas"],
            "vegetables": ["carrots", "celery", "squash", "carrots"],
        },
        {"$pull": {"fruits": {"$in": ["apples", "oranges"]}, "vegetables": "carrots"}},
        {"fruits": ["pears", "grapes", "bananas"], "vegetables": ["celery", "squash"]},
    ),
    ({"votes": [3, 5, 6, 7, 7, 8]}, {"$pull": {"votes": {"$gte": 6}}}, {"votes": [3, 5]}),
    (
        {"results": [{"item": "A", "score": 5}, {"item": "B", "score": 8}]},
        {"$pull": {"results": {"score": 8, "item": "B"}}},
        {"results": [{"item": "A", "score": 5}]},
    ),
    (
        {"results": [{"item": "C", "score": 8, "comment": "Strongly agree"}, {"item": "B", "score": 4}]},
        {"$pull": {"results": {"score": 8}}},
        {"results": [{"item": "B", "score": 4}]},
    ),
    (
        {
            "results": [
                {"item": "A", "score": 5, "answers": [{"q": 1, "a": 4}, {"q": 2, "a": 6}]},
                {"item": "B", "score": 8, "answers": [{"q": 1, "a": 8}, {"q": 2, "a": 9}]},
            ]
        },
        {"$pull": {"results": {"answers": {"$elemMatch": {"q": 2, "a": {"$gte": 8}}}}}},
        {"results": [{"item": "A", "score": 5, "answers": [{"q": 1, "a": 4}, {"q": 2, "a": 6}]}]},
    ),
    ({"a": [1, 2, 1.0, True]}, {"$pull": {"a": 1}}, {"a": [2, True]}),
    ({"a": [[1, 2], [2, 1], 1]}, {"$pull": {"a": [1, 2]}}, {"a": [[2, 1], 1]}),
    ({"a": [None, 0]}, {"$pull": {"a": None}}, {"a": [0]}),
    ({"a": ["x1", "y", 5]}, {"$pull": {"a": {"$regex": "^x"}}}, {"a": ["y", 5]}),
    ({"a": [1, 5, 9]}, {"$pull": {"a": {"$not": {"$gt": 4}}}}, {"a": [5, 9]}),
    ({"a": [{"b": 1}, {"b": 2}, 3]}, {"$pull": {"a": {"$or": [{"b": 1}, {"b": 2}]}}}, {"a": [3]}),
    ({"a": [{"b": 1}, {}, 3]}, {"$pull": {"a": {}}}, {"a": [3]}),
    ({}, {"$pull": {"a": 1}}, {}),
    ({"a": {}}, {"$pull": {"a.b.c": 1}}, {"a": {}}),
    ({"a": 1}, {"$pull": {"a": 1}}, TYPE),
    ({"a": []}, {"$pull": {"a": 1}}, {"a": []}),
    # $pullAll
    ({"scores": [0, 2, 5, 5, 1, 0]}, {"$pullAll": {"scores": [0, 5]}}, {"scores": [2, 1]}),
    ({"a": [{"x": 1}, {"x": 1, "y": 1}]}, {"$pullAll": {"a": [{"x": 1}]}}, {"a": [{"x": 1, "y": 1}]}),
    ({"a": [1, "1", True, 1.0]}, {"$pullAll": {"a": [1]}}, {"a": ["1", True]}),
    ({}, {"$pullAll": {"a": [1]}}, {}),
    ({"a": [1]}, {"$pullAll": {"a": []}}, {"a": [1]}),
    ({"a": 1}, {"$pullAll": {"a": [1]}}, TYPE),
    # $pop
    ({"scores": [8, 9, 10]}, {"$pop": {"scores": -1}}, {"scores": [9, 10]}),
    ({"scores": [9, 10]}, {"$pop": {"scores": 1}}, {"scores": [9]}),
    ({"a": []}, {"$pop": {"a": 1}}, {"a": []}),
    ({}, {"$pop": {"a": 1}}, {}),
    ({"a": {"b": [1, 2]}}, {"$pop": {"a.b": 1.0}}, {"a": {"b": [1]}}),
    ({"a": "xy"}, {"$pop": {"a": 1}}, TYPE),
    # $[]
    ({"grades": [85, 82, 80]}, {"$inc": {"grades.$[]": 10}}, {"grades": [95, 92, 90]}),
    (
        {"grades": [{"grade": 80, "std": 8}, {"grade": 85, "std": 5}]},
        {"$inc": {"grades.$[].std": -2}},
        {"grades": [{"grade": 80, "std": 6}, {"grade": 85, "std": 3}]},
    ),
    ({"a": [[1, 2], [3]]}, {"$mul": {"a.$[].$[]": 2}}, {"a": [[2, 4], [6]]}),
    ({"a": [{"b": [1]}, {"b": []}]}, {"$push": {"a.$[].b": 7}}, {"a": [{"b": [1, 7]}, {"b": [7]}]}),
    ({"a": []}, {"$set": {"a.$[]": 1}}, {"a": []}),
    ({"a": [1, 2]}, {"$unset": {"a.$[]": 1}}, {"a": [None, None]}),
    ({"a": [{"b": 1}, {"b": 2, "c": 3}]}, {"$unset": {"a.$[].b": 1}}, {"a": [{}, {"c": 3}]}),
    ({}, {"$set": {"a.$[]": 1}}, PATH),
    ({"a": 1}, {"$set": {"a.$[]": 1}}, TYPE),
    ({"a": {"b": 1}}, {"$set": {"a.$[]": 1}}, TYPE),
    ({"a": [1, {"b": 1}]}, {"$set": {"a.$[].b": 2}}, TYPE),
    ({"a": [1, 2]}, {"$set": {"a.$[]": 0, "a.1": 5}}, CONFLICT),
    ({"a": [{}, {}]}, {"$set": {"a.$[]": {}, "a.0.x.y": 1}}, CONFLICT),
    ({"a": [{"x": {}}]}, {"$set": {"a.0.x": {}}, "$inc": {"a.$[].x.n": 1}}, CONFLICT),
]

FILTERED: list[Filtered] = [
    (
        {"grades": [95, 92, 90]},
        {"$set": {"grades.$[element]": 100}},
        [{"element": {"$gte": 92}}],
        {"grades": [100, 100, 90]},
    ),
    (
        {"grades": [95, 110, 100]},
        {"$set": {"grades.$[element]": 100}},
        [{"element": {"$gte": 100}}],
        {"grades": [95, 100, 100]},
    ),
    (
        {
            "grades": [
                {"grade": 80, "mean": 75, "std": 6},
                {"grade": 85, "mean": 90, "std": 4},
                {"grade": 85, "mean": 85, "std": 6},
            ]
        },
        {"$set": {"grades.$[elem].mean": 100}},
        [{"elem.grade": {"$gte": 85}}],
        {
            "grades": [
                {"grade": 80, "mean": 75, "std": 6},
                {"grade": 85, "mean": 100, "std": 4},
                {"grade": 85, "mean": 100, "std": 6},
            ]
        },
    ),
    (
        {"grades": [{"grade": 80, "std": 4}, {"grade": 90, "std": 8}]},
        {"$inc": {"grades.$[elem].std": -1}},
        [{"elem.grade": {"$gte": 80}, "elem.std": {"$gte": 5}}],
        {"grades": [{"grade": 80, "std": 4}, {"grade": 90, "std": 7}]},
    ),
    (
        {
            "grades": [
                {"type": "quiz", "questions": [10, 8, 5]},
                {"type": "quiz", "questions": [8, 9, 6]},
                {"type": "hw", "questions": [5, 4, 3]},
            ]
        },
        {"$inc": {"grades.$[t].questions.$[score]": 2}},
        [{"t.type": "quiz"}, {"score": {"$gte": 8}}],
        {
            "grades": [
                {"type": "quiz", "questions": [12, 10, 5]},
                {"type": "quiz", "questions": [10, 11, 6]},
                {"type": "hw", "questions": [5, 4, 3]},
            ]
        },
    ),
    (
        {"grades": [{"questions": [10, 8]}, {"questions": [5]}]},
        {"$inc": {"grades.$[].questions.$[score]": 2}},
        [{"score": {"$gte": 8}}],
        {"grades": [{"questions": [12, 10]}, {"questions": [5]}]},
    ),
    ({"a": [1, 2]}, {"$set": {"a.$[x]": 0}}, [{"x": 5}], {"a": [1, 2]}),
    (
        {"a": [{"b": [{"c": 1}, {"c": 2}]}]},
        {"$set": {"a.$[x].b.$[y].c": 9}},
        [{"x.b.c": 1}, {"y.c": 2}],
        {"a": [{"b": [{"c": 1}, {"c": 9}]}]},
    ),
    ({"a": [1, 5, 9]}, {"$set": {"a.$[x]": 0}}, [{"$or": [{"x": 1}, {"x": {"$gt": 8}}]}], {"a": [0, 5, 0]}),
    ({"a": [1, "b"]}, {"$unset": {"a.$[x]": 1}}, [{"x": {"$type": "string"}}], {"a": [1, None]}),
    (
        {"a": [{"t": ["x"]}, {"t": []}]},
        {"$push": {"a.$[e].t": "z"}},
        [{"e.t": "x"}],
        {"a": [{"t": ["x", "z"]}, {"t": []}]},
    ),
    ({"a": ["q1", "r"]}, {"$set": {"a.$[e]": 0}}, [{"e": {"$regex": "^q"}}], {"a": [0, "r"]}),
    ({}, {"$set": {"a.$[x]": 0}}, [{"x": 5}], PATH),
    ({"a": "x"}, {"$set": {"a.$[x]": 0}}, [{"x": 5}], TYPE),
    ({"a": [1, 2]}, {"$set": {"a.$[x]": 0, "a.$[y]": 1}}, [{"x": 1}, {"y": 2}], {"a": [0, 1]}),
    ({"a": [1, 2]}, {"$set": {"a.$[x]": 0, "a.$[y]": 1}}, [{"x": 1}, {"y": {"$lt": 2}}], CONFLICT),
]

MATCHED: list[Matched] = [
    ({"grades": [85, 80, 80]}, {"grades": 80}, {"$set": {"grades.$": 82}}, {"grades": [85, 82, 80]}),
    (
        {"grades": [{"grade": 80, "std": 8}, {"grade": 85, "std": 5}, {"grade": 85, "std": 3}]},
        {"grades.grade": 85},
        {"$set": {"grades.$.std": 6}},
        {"grades": [{"grade": 80, "std": 8}, {"grade": 85, "std": 6}, {"grade": 85, "std": 3}]},
    ),
    (
        {
            "grades": [
                {"grade": 80, "mean": 75, "std": 8},
                {"grade": 85, "mean": 90, "std": 5},
                {"grade": 90, "mean": 85, "std": 3},
            ]
        },
        {"grades": {"$elemMatch": {"grade": {"$lte": 90}, "mean": {"$gt": 80}}}},
        {"$set": {"grades.$.std": 6}},
        {
            "grades": [
                {"grade": 80, "mean": 75, "std": 8},
                {"grade": 85, "mean": 90, "std": 6},
                {"grade": 90, "mean": 85, "std": 3},
            ]
        },
    ),
    ({"a": [1, 5, 7]}, {"a": {"$gt": 4}}, {"$inc": {"a.$": 1}}, {"a": [1, 6, 7]}),
    ({"a": [1, 5, 7]}, {"a": {"$elemMatch": {"$gt": 5, "$lt": 9}}}, {"$unset": {"a.$": 1}}, {"a": [1, 5, None]}),
    ({"a": {"b": [{"c": 1}, {"c": 2}]}}, {"a.b.c": 2}, {"$set": {"a.b.$": "x"}}, {"a": {"b": [{"c": 1}, "x"]}}),
    ({"a": [{"b": [1, 2]}, {"b": [3]}]}, {"a.b": 3}, {"$push": {"a.$.b": 4}}, {"a": [{"b": [1, 2]}, {"b": [3, 4]}]}),
    ({"x": 1, "a": [1, 2]}, {"x": 1, "a": {"$in": [2, 3]}}, {"$set": {"a.$": 9}}, {"x": 1, "a": [1, 9]}),
    ({"a": 1}, {"a": 1}, {"$set": {"a.$": 9}}, TYPE),
    ({"a": [1]}, {"a": [1]}, {"$set": {"a.$": 9}}, PATH),
]
"""The last one matches the array as a whole, and no element of it."""

MERGE_PATCHES: list[Row] = [
    # RFC 7396, appendix A, those of objects
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    # Its example in section 3
    (
        {
            "title": "Goodbye!",
            "author": {"givenName": "John", "familyName": "Doe"},
            "tags": ["example", "sample"],
            "content": "This will be unchanged",
        },
        {"title": "Hello!", "phoneNumber": "+01-123-456-7890", "author": {"familyName": None}, "tags": ["example"]},
        {
            "title": "Hello!",
            "author": {"givenName": "John"},
            "tags": ["example"],
            "content": "This will be unchanged",
            "phoneNumber": "+01-123-456-7890",
        },
    ),
    ({"a": 1}, {}, {"a": 1}),
    ({"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1}}),
    ({"a": {"b": 1}}, {"a": {}}, {"a": {"b": 1}}),
    ({"a": 1}, {"b": [None, {"c": None}]}, {"a": 1, "b": [None, {"c": None}]}),
    ({"a": 1}, {"$set": {"b": 1}}, {"a": 1, "$set": {"b": 1}}),
]

JSON_PATCHES: list[Row] = [
    # RFC 6902, appendix A
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"foo": "bar", "baz": "qux"}),
    ({"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "qux"}], {"foo": ["bar", "qux", "baz"]}),
    ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
    ({"foo": ["bar", "qux", "baz"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["bar", "baz"]}),
    ({"baz": "qux", "foo": "bar"}, [{"op": "replace", "path": "/baz", "value": "boo"}], {"baz": "boo", "foo": "bar"}),
    (
        {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
        [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
        {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
    ),
    (
        {"foo": ["all", "grass", "cows", "eat"]},
        [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
        {"foo": ["all", "cows", "eat", "grass"]},
    ),
    (
        {"baz": "qux", "foo": ["a", 2, "c"]},
        [{"op": "test", "path": "/baz", "value": "qux"}, {"op": "test", "path": "/foo/1", "value": 2}],
        {"baz": "qux", "foo": ["a", 2, "c"]},
    ),
    ({"baz": "qux"}, [{"op": "test", "path": "/baz", "value": "bar"}], TEST),
    (
        {"foo": "bar"},
        [{"op": "add", "path": "/child", "value": {"grandchild": {}}}],
        {"foo": "bar", "child": {"grandchild": {}}},
    ),
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}], {"foo": "bar", "baz": "qux"}),
    ({"foo": "bar"}, [{"op": "add", "path": "/baz/bat", "value": "qux"}], PATH),
    ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
    ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": "10"}], TEST),
    ({"foo": ["bar"]}, [{"op": "add", "path": "/foo/-", "value": ["abc", "def"]}], {"foo": ["bar", ["abc", "def"]]}),
    # Its rules in section 4
    ({"a": 1}, [], {"a": 1}),
    ({"a": 1}, [{"op": "add", "path": "", "value": {"b": 2}}], {"b": 2}),
    ({"a": 1}, [{"op": "replace", "path": "", "value": {"b": 2}}], {"b": 2}),
    ({"a": 1}, [{"op": "test", "path": "", "value": {"a": 1.0}}], {"a": 1}),
    ({"a": 1, "b": 2}, [{"op": "test", "path": "", "value": {"b": 2, "a": 1}}], {"a": 1, "b": 2}),
    ({"a": {"x": 1, "y": [1]}}, [{"op": "test", "path": "/a", "value": {"y": [1], "x": 1}}], {"a": {"x": 1, "y": [1]}}),
    ({"a": True}, [{"op": "test", "path": "/a", "value": 1}], TEST),
    ({"a": None}, [{"op": "test", "path": "/a", "value": None}], {"a": None}),
    ({}, [{"op": "test", "path": "/a", "value": None}], PATH),
    ({"a": [1, 2]}, [{"op": "test", "path": "/a", "value": [2, 1]}], TEST),
    ({"a": 1}, [{"op": "add", "path": "/a", "value": 2}], {"a": 2}),
    ({"a": [1]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2]}),
    ({"a": [1]}, [{"op": "add", "path": "/a/2", "value": 2}], PATH),
    ({"a": [1]}, [{"op": "add", "path": "/a/01", "value": 2}], PATH),
    ({"a": [1]}, [{"op": "add", "path": "/a/x", "value": 2}], PATH),
    ({"a": [1]}, [{"op": "replace", "path": "/a/-", "value": 2}], PATH),
    ({"a": [1]}, [{"op": "replace", "path": "/a/1", "value": 2}], PATH),
    ({"a": 1}, [{"op": "replace", "path": "/b", "value": 2}], PATH),
    ({"a": 1}, [{"op": "remove", "path": "/b"}], PATH),
    ({"a": 1}, [{"op": "remove", "path": "/a/b"}], PATH),
    ({"a": {"b": [1, {"c": 2}]}}, [{"op": "remove", "path": "/a/b/1/c"}], {"a": {"b": [1, {}]}}),
    (
        {"a": {"b": 1}},
        [{"op": "copy", "from": "/a", "path": "/c"}, {"op": "replace", "path": "/c/b", "value": 2}],
        {"a": {"b": 1}, "c": {"b": 2}},
    ),
    ({"a": 1}, [{"op": "copy", "from": "", "path": "/b"}], {"a": 1, "b": {"a": 1}}),
    ({"a": 1}, [{"op": "copy", "from": "/x", "path": "/b"}], PATH),
    ({"a": 1}, [{"op": "move", "from": "/a", "path": "/a"}], {"a": 1}),
    ({"a": {"b": 1}}, [{"op": "move", "from": "/a/b", "path": "/a"}], {"a": 1}),
    ({"a": 1, "b": 2}, [{"op": "move", "from": "/a", "path": "/b"}], {"b": 1}),
    (
        {"a": 1},
        [{"op": "add", "path": "/b", "value": {}}, {"op": "add", "path": "/b/c", "value": 1}],
        {"a": 1, "b": {"c": 1}},
    ),
    (
        {"": 1, "a": {"": 2}},
        [{"op": "replace", "path": "/", "value": 5}, {"op": "remove", "path": "/a/"}],
        {"": 5, "a": {}},
    ),
    ({"a": {"-": 1}}, [{"op": "replace", "path": "/a/-", "value": 2}], {"a": {"-": 2}}),
    ({"a": [1, 2]}, [{"op": "remove", "path": "/a/0"}, {"op": "test", "path": "/a/0", "value": 3}], TEST),
]

INSERTED: list[tuple[Document | None, Any, Document]] = [
    (None, {"$set": {"a": 1}}, {"a": 1}),
    (None, {"$setOnInsert": {"a": 1, "b.c": 2}}, {"a": 1, "b": {"c": 2}}),
    (None, {"$unset": {"a": 1}}, {}),
    ({"a": 1, "b": {"$gt": 5}}, {"$inc": {"n": 1}}, {"a": 1, "n": 1}),
    ({"a": {"$eq": 1}, "b.c": "x"}, {"$set": {"d": 1}}, {"a": 1, "b": {"c": "x"}, "d": 1}),
    ({"$and": [{"a": 1}, {"b": 2}]}, {"$inc": {"a": 1}}, {"a": 2, "b": 2}),
    ({"$or": [{"a": 1}, {"a": 2}]}, {"$set": {"b": 1}}, {"b": 1}),
    ({"_id": "x", "_revision": 5, "a": {"$ne": 3}}, {"$set": {"b": 1}}, {"b": 1}),
    (
        {"item": "apple"},
        {"$set": {"item": "apple"}, "$setOnInsert": {"defaultQty": 100}},
        {"item": "apple", "defaultQty": 100},
    ),
]
"""What a filter and an update make of nothing."""

# Not allowed in any state: the pointer that is at fault.
INVALID: list[tuple[Any, str]] = [
    ({}, ""),
    ([], ""),
    (1, ""),
    (None, ""),
    ({"a": 1}, "/a"),
    ({"$set": {"a": 1}, "b": 1}, "/b"),
    ({"$foo": {"a": 1}}, "/$foo"),
    ({"$pushAll": {"a": [1]}}, "/$pushAll"),
    ({"$set": 1}, "/$set"),
    ({"$set": [1]}, "/$set"),
    ({"$set": {"": 1}}, "/$set/"),
    ({"$set": {"a..b": 1}}, "/$set/a..b"),
    ({"$set": {".a": 1}}, "/$set/.a"),
    ({"$set": {"a.": 1}}, "/$set/a."),
    ({"$set": {"_id": 1}}, "/$set/_id"),
    ({"$unset": {"_x.y": 1}}, "/$unset/_x.y"),
    ({"$set": {"a.$x": 1}}, "/$set/a.$x"),
    ({"$set": {"$": 1}}, "/$set/$"),
    ({"$set": {"$[]": 1}}, "/$set/$[]"),
    ({"$set": {"a.$[X]": 1}}, "/$set/a.$[X]"),
    ({"$set": {"a.$[x]": 1}}, "/$set/a.$[x]"),
    ({"$set": {"a.$": 1}}, "/$set/a.$"),
    ({"$set": {"a.$.b.$": 1}}, "/$set/a.$.b.$"),
    ({"$set": {"a": 1, "a.b": 2}}, "/$set/a.b"),
    ({"$set": {"a.b": 1}, "$inc": {"a": 2}}, "/$inc/a"),
    ({"$set": {"a": 1}, "$unset": {"a": 1}}, "/$unset/a"),
    ({"$set": {"a~/b": 1}, "$inc": {"a~/b": 1}}, "/$inc/a~0~1b"),
    ({"$inc": {"a": "1"}}, "/$inc/a"),
    ({"$inc": {"a": None}}, "/$inc/a"),
    ({"$inc": {"a": True}}, "/$inc/a"),
    ({"$inc": {"a": 1 << 63}}, "/$inc/a"),
    ({"$mul": {"a": []}}, "/$mul/a"),
    ({"$pop": {"a": 2}}, "/$pop/a"),
    ({"$pop": {"a": True}}, "/$pop/a"),
    ({"$pullAll": {"a": 1}}, "/$pullAll/a"),
    ({"$pull": {"a": {"$foo": 1}}}, "/$pull/a/$foo"),
    ({"$currentDate": {"a": False}}, "/$currentDate/a"),
    ({"$currentDate": {"a": {"$type": "x"}}}, "/$currentDate/a"),
    ({"$rename": {"a": 1}}, "/$rename/a"),
    ({"$rename": {"a": "a"}}, "/$rename/a"),
    ({"$rename": {"a": "a.b"}}, "/$rename/a"),
    ({"$rename": {"a": "_b"}}, "/$rename/a"),
    ({"$rename": {"a.$[]": "b"}}, "/$rename/a.$[]"),
    ({"$rename": {"a": "b"}, "$set": {"b": 1}}, "/$set/b"),
    ({"$push": {"a": {"$slice": 1}}}, "/$push/a"),
    ({"$push": {"a": {"$each": 1}}}, "/$push/a/$each"),
    ({"$push": {"a": {"$each": [], "$slice": 1.5}}}, "/$push/a/$slice"),
    ({"$push": {"a": {"$each": [], "$position": "x"}}}, "/$push/a/$position"),
    ({"$push": {"a": {"$each": [], "$sort": 2}}}, "/$push/a/$sort"),
    ({"$push": {"a": {"$each": [], "$sort": {"x": 0}}}}, "/$push/a/$sort/x"),
    ({"$push": {"a": {"$each": [], "$sort": {}}}}, "/$push/a/$sort"),
    ({"$push": {"a": {"$each": [], "b": 1}}}, "/$push/a/b"),
    ({"$addToSet": {"a": {"$each": 1}}}, "/$addToSet/a/$each"),
    ({"$addToSet": {"a": {"$each": [], "$slice": 1}}}, "/$addToSet/a/$slice"),
    ({"$set": {".".join("a" * 65): 1}}, "/$set/" + ".".join("a" * 65)),
]

INVALID_JSON_PATCHES: list[tuple[Any, str]] = [
    ({}, ""),
    (1, ""),
    ([1], "/0"),
    ([{}], "/0/op"),
    ([{"op": "x", "path": "/a"}], "/0/op"),
    ([{"op": "add", "path": "/a"}], "/0"),
    ([{"op": "add", "path": "a", "value": 1}], "/0/path"),
    ([{"op": "add", "value": 1}], "/0/path"),
    ([{"op": "add", "path": "/a~2", "value": 1}], "/0/path"),
    ([{"op": "add", "path": "/a~", "value": 1}], "/0/path"),
    ([{"op": "move", "path": "/a"}], "/0/from"),
    ([{"op": "move", "from": "/a", "path": "/a/b"}], "/0/from"),
    ([{"op": "remove", "path": ""}], "/0"),
    ([{"op": "add", "path": "", "value": []}], "/0/value"),
    ([{"op": "add", "path": "/_x", "value": 1}], "/0/path"),
    ([{"op": "add", "path": "", "value": {"_x": 1}}], "/0/value/_x"),
    ([{"op": "copy", "from": "/a", "path": ""}], "/0/path"),
    ([{"op": "test", "path": "/a", "value": 1}, {"op": "test", "path": "/a"}], "/1"),
    ([{"op": "move", "from": "", "path": "/a"}], "/0/from"),
    ([{"op": "move", "from": "/a", "path": ""}], "/0/path"),
]
