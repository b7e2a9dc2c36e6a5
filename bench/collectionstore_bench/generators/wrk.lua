-- Requests of wrk, and its result as one line of JSON behind MARKER.
-- Arguments: store (ours, etcd), work (put, get, stale, mixed), keys, bytes of a document, file of random text,
-- what keys begin with, then the addresses of the nodes that the threads talk to in turn: HOST PORT ...
-- Keys and documents are those of etcd-load, so that both find what the other has written.

local MARKER = "result "
local threads = 0

function setup(thread)
   thread:set("number", threads)
   threads = threads + 1
end

local digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local pairs_of_digits = {} -- by the 12 bits that they stand for
for bits = 0, 4095 do
   local high, low = math.floor(bits / 64), bits % 64
   pairs_of_digits[bits] = digits:sub(high + 1, high + 1) .. digits:sub(low + 1, low + 1)
end

local function base64(text)
   local padding = (3 - #text % 3) % 3
   text = text .. ("\0"):rep(padding)
   local out = {}
   for at = 1, #text, 3 do
      local a, b, c = text:byte(at, at + 2)
      out[#out + 1] = pairs_of_digits[a * 16 + math.floor(b / 16)]
      out[#out + 1] = pairs_of_digits[b % 16 * 256 + c]
   end
   local encoded = table.concat(out)
   return encoded:sub(1, #encoded - padding) .. ("="):rep(padding)
end

local function document(number, bytes, filling)
   local head = string.format('{"number":%d,"text":"', number)
   local length = bytes - #head - 2
   local offset = (number * bytes) % (#filling - bytes)
   return head .. filling:sub(offset + 1, offset + length) .. '"}'
end

local function ours(key, body, stale)
   local path = "/api/v1/collections/bench/documents/" .. key
   if body then
      return wrk.format("PUT", path, { ["Content-Type"] = "application/json" }, body)
   end
   return wrk.format("GET", path .. (stale and "?consistency=stale" or ""))
end

local function etcd(key, body, stale)
   local name = base64(key)
   if body then
      return wrk.format("POST", "/v3/kv/put", nil, string.format('{"key":"%s","value":"%s"}', name, base64(body)))
   end
   local options = stale and ',"serializable":true' or ""
   return wrk.format("POST", "/v3/kv/range", nil, string.format('{"key":"%s"%s}', name, options))
end

local puts, gets = {}, {}
local work

function init(args)
   local encode = args[1] == "etcd" and etcd or ours
   work = args[2]
   local keys, bytes = tonumber(args[3]), tonumber(args[4])
   local file = assert(io.open(args[5], "rb"))
   local filling = file:read("*a")
   file:close()
   local nodes = (#args - 6) / 2
   if nodes > 1 then
      local mine = 7 + 2 * (number % nodes)
      wrk.thread.addr = wrk.lookup(args[mine], args[mine + 1])[1]
   end
   for at = 1, keys do
      local key = string.format("%s%08d", args[6], at - 1)
      if work == "put" or work == "mixed" then
         puts[at] = encode(key, document(at - 1, bytes, filling))
      end
      if work ~= "put" then
         gets[at] = encode(key, nil, work == "stale")
      end
   end
   math.randomseed(20240607 + number)
end

function request()
   if work == "put" or (work == "mixed" and math.random(5) == 1) then
      return puts[math.random(#puts)]
   end
   return gets[math.random(#gets)]
end

function done(summary, latency, requests)
   local errors = summary.errors
   local form = '{"requests":%d,"seconds":%.6f,"p50_us":%.1f,"p99_us":%.1f,"worst_us":%.1f,"errors":'
      .. '{"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}}\n'
   io.write(MARKER .. string.format(form, summary.requests - errors.status, summary.duration / 1e6,
      latency:percentile(50), latency:percentile(99), latency.max,
      errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
