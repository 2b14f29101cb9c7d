--- simvae run: runs a Lua script that finds simvae.
local source = require "simvae.cli.source"

local function define(command)
  command:argument("script", "The script."):argname "<script.lua>"
  command:argument("arguments", "Its arguments."):args "*"
  command:handle_options(false)
end

local function run(a, _, command)
  if a.script == "-h" or a.script == "--help" then -- all that follows is the script's, and argparse reads none of it
    print(command.parser:get_help())
    return
  end
  source.run(a.script, a.arguments)
end

return {
  order = 10,
  summary = "Runs a Lua script.",
  text = "Runs a Lua script with its arguments, as lua does; require \"simvae\" finds this installation.",
  examples = { "simvae run ring.lua --steps 100" },
  define = define,
  run = run,
}
