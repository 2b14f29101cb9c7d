--- Export as C: one C99 source file and its header, which depend on nothing but C's own library.
--
-- Weights are constant arrays, of floats or bytes. The functions allocate and print nothing. They take rows one by one,
-- in working memory that the caller gives, or in a static array. Constants lie in flash memory on AVR. Under GCC and
-- clang sums are vectors, and on x86-64 each function asks whether the processor has AVX2; numbers do not depend on it.
--
--     sv.export.c(model, "box.c", { what = { "decode", "encode" } })   -- box.c, box.h: box_decode, box_encode
local format = require "simvae.export.support.format"
local refuse = require "simvae.export.support.refuse"
local source = require "simvae.export.support.c.source"

local rules = format.rules("c", {
  prefix = { "string", doc = "of the names in the file, an identifier of C; default: from the simulator's name" },
  int8 = { "boolean", default = false,
    doc = "weights of products are bytes, with a scale for each output, instead of floats: a quarter of the memory; "
      .. "the header states the error" },
  workspace = { "string", default = "caller", one_of = { "caller", "static" },
    doc = "of the working memory: an argument of the functions, or a static array of the file" },
  flash = { "integer", min = 1, doc = "bytes that the constants may take; more is an error; default: no limit" },
  ram = { "integer", min = 1, doc = "bytes that the working memory may take; more is an error; default: no limit" },
})

local function check_room(result, o)
  for _, room in ipairs { { "flash", "constants" }, { "ram", "workspace" } } do
    local limit, needed = o[room[1]], result[room[2]]
    if limit and needed > limit then
      refuse.because("%s = %d, and the %s take %d bytes; a model of a smaller width, or fewer directions%s, take less",
        room[1], limit, room[2] == "constants" and "constants" or "arrays of working memory", needed,
        room[2] == "constants" and not o.int8 and ", or int8 = true" or "")
    end
  end
end

--- Writes a C99 source file and, beside it, its header.
-- @tparam Model model
-- @tparam string path ends in ".c"
-- @tparam ?table options options
-- @treturn string|nil path, or nil and a message: a file that exists or cannot be written
-- @treturn table header: its path; prefix; functions: their names; constants and workspace: bytes; with int8, errors:
-- for each function, and each output of it, { largest, share }, over 64 typical inputs
-- @raise what cannot leave (sv.export.graph), a prefix that is no identifier, too little flash or ram
-- @usage
-- local path, about = sv.export.c(model, "ring.c", { overwrite = true })
-- print(path, about.header, about.constants)
local function c(model, path, options)
  local result, about = format.write("c", model, path, options, rules, function(graphs, o)
    local base, file = path:match "^(.*)%.c$", path:match "([^/]+)%.c$"
    if not file then refuse.because("path ends in \".c\"; got \"%s\"", path) end
    local prefix = o.prefix or source.identifier(model.simulator.name)
    if not prefix:find "^[%a_][%w_]*$" then refuse.because("prefix is an identifier of C; got \"%s\"", prefix) end
    local lines = {}
    if model.focus then
      lines[1] = "The model was trained in rounds for one observation; its posterior is good near that alone."
    end
    local made = source.of(graphs, { file = file, prefix = prefix, int8 = o.int8, static = o.workspace == "static",
      name = model.simulator.name, about = lines })
    check_room(made, o)
    local names = {}
    for i, f in ipairs(made.functions) do names[i] = f.name end
    return { { path = path, pieces = { made.source } }, { path = base .. ".h", pieces = { made.header } } },
      { header = base .. ".h", prefix = prefix, functions = names, constants = made.constants,
        workspace = made.workspace, errors = made.errors or nil }
  end)
  return result, about
end

return { export = c, suffix = ".c", order = 20, rules = rules }
