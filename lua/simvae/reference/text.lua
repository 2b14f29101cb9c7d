--- The reference as plain text, for terminals: what sv.help prints.
local core = require "simvae.core"
local enumeration = require "simvae.util.enumeration"

local text = {}

local WIDTH = 100 -- columns, or those of a narrower terminal

local function length(line) return utf8.len(line) or #line end

-- A word in parts of at most so many letters.
local function parts_of(word, most)
  local parts = {}
  while length(word) > most do
    local at = utf8.offset(utf8.len(word) and word or "", most + 1) or most + 1
    parts[#parts + 1], word = word:sub(1, at - 1), word:sub(at)
  end
  parts[#parts + 1] = word
  return parts
end

--- A text in lines.
-- @tparam string words
-- @tparam string first what the first line begins with
-- @tparam string indent what the others begin with
-- @tparam ?integer width columns of a line, where longer words are divided; default: 100, or those of a narrower
--   terminal, and words stay whole
-- @treturn string
local function wrapped(words, first, indent, width)
  local most = width and math.max(width - #indent, 1) or math.huge
  width = width or math.min(WIDTH, (core.system.columns(1) or WIDTH) - 1)
  local lines, line = {}, first
  for word in words:gmatch "%S+" do
    for _, part in ipairs(parts_of(word, most)) do
      if #line > #indent and length(line) + 1 + length(part) > width then
        lines[#lines + 1], line = line, indent .. part
      else
        line = line .. (line:find "%S" and not line:find " $" and " " or "") .. part
      end
    end
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n")
end
text.wrapped = wrapped

--- The paragraphs of a documentation's text.
-- @tparam string words
-- @treturn {table,...} { text = } of one or more lines that are one paragraph, "" between two; { code = } of lines that
--   are indented
function text.paragraphs(words)
  local list = {}
  for line in (words .. "\n"):gmatch "([^\n]*)\n" do
    local last = list[#list]
    if line:find "^   " then
      if last and last.code then
        last.code = last.code .. "\n" .. line:match "^ ? ? ? ?(.*)"
      else
        list[#list + 1] = { code = line:match "^ ? ? ? ?(.*)" }
      end
    elseif line ~= "" and last and last.text and last.text ~= "" then
      last.text = last.text .. " " .. line
    else
      list[#list + 1] = { text = line }
    end
  end
  return list
end

local function label(p)
  return p.type == "any" and not p.optional and p.name
    or string.format("%s (%s%s)", p.name, p.type == "any" and "anything" or p.type, p.optional and ", optional" or "")
end

local function indented(code, by)
  return by .. code:gsub("\n", "\n" .. by)
end

-- The lines of a list of options.
local function option_lines(list, indent, lines)
  for _, o in ipairs(list) do
    lines[#lines + 1] = wrapped(string.format("%s: %s", o.accepts, o.doc or ""),
      string.format("%s%s  ", indent, o.name), indent .. "    ")
    if o.same then
      lines[#lines + 1] = indent .. "    fields as of " .. o.same
    elseif o.fields then
      option_lines(o.fields, indent .. "    ", lines)
    end
    if o.each then option_lines(o.each, indent .. "    ", lines) end
  end
end

--- The options that a name means.
-- @tparam table entry of simvae.reference
-- @tparam {table,...} found { option = of simvae.reference.options, paths = {"decoder.steps", "encoder.steps"} }
-- @treturn string
function text.options(entry, found)
  local lines = {}
  for i, f in ipairs(found) do
    local option, first = f.option, i > 1 and "\n" or ""
    lines[#lines + 1] = string.format("%s%s of %s\n", first, enumeration.of(f.paths), entry.call)
    lines[#lines + 1] = wrapped(option.doc or "", "  ", "  ")
    lines[#lines + 1] = "  " .. option.accepts
    if option.fields or option.each then
      lines[#lines + 1] = ""
      option_lines(option.fields or option.each, "  ", lines)
    end
  end
  return table.concat(lines, "\n")
end

local function add_list(lines, title, names)
  if #names == 0 then return end
  lines[#lines + 1] = ""
  lines[#lines + 1] = wrapped(table.concat(names, ", "), "  " .. title .. ": ", "    ")
end

local function add_parameters(lines, doc)
  if #doc.params == 0 and #doc.returns == 0 and #doc.raises == 0 then return end
  lines[#lines + 1] = ""
  for _, p in ipairs(doc.params) do
    lines[#lines + 1] = wrapped(p.text, "  " .. label(p) .. (p.text ~= "" and ": " or ""), "    ")
  end
  for _, r in ipairs(doc.returns) do
    local type = r.optional and r.type .. " or nil" or r.type
    lines[#lines + 1] = wrapped(r.text, "  returns " .. type .. " ", "    ")
  end
  for _, r in ipairs(doc.raises) do lines[#lines + 1] = wrapped(r, "  raises for ", "    ") end
end

--- An entry.
-- @tparam table entry of simvae.reference
-- @treturn string
function text.entry(entry)
  local doc = entry.doc
  local lines = { entry.call, "" }
  for _, paragraph in ipairs(text.paragraphs(doc.text .. (entry.about and "\n\n" .. entry.about or ""))) do
    lines[#lines + 1] = paragraph.code and "    " .. paragraph.code:gsub("\n", "\n    ")
      or paragraph.text ~= "" and wrapped(paragraph.text, "  ", "  ") or ""
  end
  for _, field in ipairs(entry.fields or {}) do
    lines[#lines + 1] = wrapped(field.text, "  ." .. label(field) .. ": ", "    ")
  end
  add_parameters(lines, doc)
  if entry.options then
    lines[#lines + 1] = "\n  options:"
    option_lines(entry.options, "    ", lines)
  end
  add_list(lines, "methods", entry.methods or {})
  add_list(lines, "functions", entry.members or {})
  for _, code in ipairs(doc.usage) do lines[#lines + 1] = "\n" .. indented(code, "    ") end
  return (table.concat(lines, "\n"):gsub("[ ]+\n", "\n"))
end

--- An entry and where else its name is found.
-- @tparam table entry
-- @tparam {table,...} others entries of the same short name
-- @treturn string
function text.with_others(entry, others)
  local list = {}
  for i, other in ipairs(others) do list[i] = other.name end
  return text.entry(entry) .. (#list > 0 and "\n\n  see also: " .. table.concat(list, ", ") or "")
end

return text
