package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"
)

const contentType = "Content-Type: application/json\r\n"

var (
	errAnswer    = errors.New("an answer that is not HTTP")
	lengthField  = []byte("content-length:")
	retryField   = []byte("retry-after:")
	connectField = []byte("connection:")
)

// http makes the requests of one kind: writes, or linearizable reads, of documents by number.
type http struct {
	put   bool
	asked *plan
}

// answer is what a generator needs of one.
type answer struct {
	code       int
	retryAfter bool
	closes     bool
}

// encode appends a request to `to`; `filling` is random text that documents are cut from.
func (h *http) encode(to []byte, host string, number int, filling []byte) []byte {
	method := "GET "
	if h.put {
		method = "PUT "
	}
	to = append(to, method...)
	to = append(to, h.asked.Path...)
	to = append(to, '/')
	to = append(to, h.asked.Prefix...)
	to = append(to, fmt.Sprintf("%08d", number)...)
	to = append(to, " HTTP/1.1\r\nHost: "...)
	to = append(to, host...)
	to = append(to, "\r\n"...)
	if !h.put {
		return append(to, "\r\n"...)
	}
	to = append(to, contentType...)
	to = append(to, "Content-Length: "...)
	to = strconv.AppendInt(to, int64(h.asked.PayloadBytes), 10)
	to = append(to, "\r\n\r\n"...)
	begin := len(to)
	to = append(to, `{"number":`...)
	to = strconv.AppendInt(to, int64(number), 10)
	to = append(to, `,"text":"`...)
	rest := h.asked.PayloadBytes - (len(to) - begin) - 2
	offset := number % (len(filling) - rest)
	to = append(to, filling[offset:offset+rest]...)
	return append(to, `"}`...)
}

// exchange sends a request and reads its whole answer.
func exchange(connection net.Conn, reader *bufio.Reader, request []byte) (answer, error) {
	if _, err := connection.Write(request); err != nil {
		return answer{}, err
	}
	line, err := reader.ReadSlice('\n')
	if err != nil {
		return answer{}, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return answer{}, errAnswer
	}
	got := answer{}
	if got.code, err = strconv.Atoi(string(line[9:12])); err != nil {
		return answer{}, errAnswer
	}
	length := -1
	if got.code == 204 || got.code == 304 {
		length = 0
	}
	for {
		if line, err = reader.ReadSlice('\n'); err != nil {
			return answer{}, err
		}
		if len(line) <= 2 {
			break
		}
		if value, found := field(line, lengthField); found {
			if length, err = strconv.Atoi(string(value)); err != nil {
				return answer{}, errAnswer
			}
		} else if _, found := field(line, retryField); found {
			got.retryAfter = true
		} else if value, found := field(line, connectField); found {
			got.closes = bytes.EqualFold(value, []byte("close"))
		}
	}
	if length < 0 {
		return answer{}, errAnswer // chunks: none of these routes answers with them
	}
	_, err = reader.Discard(length)
	return got, err
}

// field returns the value of a header line if it has that name, which is in lower case and ends with a colon.
func field(line, name []byte) ([]byte, bool) {
	if len(line) < len(name) || !bytes.EqualFold(line[:len(name)], name) {
		return nil, false
	}
	return bytes.TrimSpace(line[len(name):]), true
}

// dial opens a connection. Its answers are small packets that must not wait for others.
func dial(host string) (net.Conn, error) {
	return net.DialTimeout("tcp", host, 5*time.Second)
}
