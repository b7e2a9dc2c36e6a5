module collectionstore.io/bench/go/openload

go 1.26.0

tool collectionstore.io/bench/go/openload/open-load
