--- simvae help: help on a command, or on anything of the library.
local check = require "simvae.util.check"
local help_text = require "simvae.util.help"
local main = require "simvae.cli.main"
local outcome = require "simvae.cli.outcome"

local function define(command)
  command:argument("topic", "What to tell about; without it: the list of commands."):args "?"
end

local function table_of(list)
  local width = 0
  for _, pair in ipairs(list) do width = math.max(width, #tostring(pair[1])) end
  for _, pair in ipairs(list) do print(string.format("%-" .. width .. "s  %s", pair[1], pair[2])) end
end

local function run(a, parser)
  if not a.topic then
    print(parser:get_help())
    return
  end
  local _, commands = main.parser()
  local topics = { ["exit-codes"] = outcome.meanings, environment = main.environment }
  if commands[a.topic] then
    print(commands[a.topic].parser:get_help())
  elseif topics[a.topic] then
    table_of(topics[a.topic])
  else
    local text = help_text.text(a.topic)
    if text then
      print(text)
      return
    end
    local known = help_text.names()
    for name in pairs(commands) do known[#known + 1] = name end
    for name in pairs(topics) do known[#known + 1] = name end
    outcome.fail("no help on '%s'%s", a.topic, check.suggestion(a.topic, known))
  end
end

return {
  order = 200,
  summary = "Prints help on a command, a function or a method.",
  text = "Prints help on a command, or on a function, method or module of the library, as sv.help does: train, "
    .. "model.train, conv2d, metrics.mim. Exit codes and environment variables are topics as well.",
  examples = { "simvae help train", "simvae help model.posterior", "simvae help exit-codes" },
  define = define,
  run = run,
}
