-- Asked by wrk: bodies from a file, a line each; in "mix" every tenth request learns. Counts what was acknowledged.
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  predicts, learns, asked, learned, refused = {}, {}, 0, 0, 0
  for line in io.lines(args[1]) do table.insert(predicts, line) end
  for line in io.lines(args[2]) do table.insert(learns, line) end
  mixed = args[3] == "mix"
end

function request()
  asked = asked + 1
  local headers = { ["Content-Type"] = "application/json" }
  if mixed and asked % 10 == 0 then
    return wrk.format("POST", "/learn", headers, learns[asked / 10 % #learns + 1])
  end
  return wrk.format("POST", "/predict", headers, predicts[asked % #predicts + 1])
end

function response(status, headers, body)
  if status ~= 200 then refused = refused + 1
  elseif body:find('"message": "learned"', 1, true) then learned = learned + 1 end
end

function done(summary, latency, requests)
  local learned, refused = 0, 0
  for _, thread in ipairs(threads) do
    learned = learned + thread:get("learned")
    refused = refused + thread:get("refused")
  end
  local errors = summary.errors
  io.write(string.format(
    '\nRESULT {"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "learned": %d, "refused": %d, "broken": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, learned,
    refused, errors.connect + errors.read + errors.write + errors.timeout))
end
