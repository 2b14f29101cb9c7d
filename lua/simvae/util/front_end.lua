--- The front end that shows pictures and bars of progress instead of the terminal, such as that of a notebook.
--
-- A front end is a table of functions:
--
--     display(data)   shows one thing: MIME type -> its bytes, "text/plain" among them
--     curve(t, text)  shows a tensor (N), of which `text` is a drawing in characters
--     bar(key, line)  shows a line of progress in place of the last one of the same key; key: any value
local front_end = {}

local current

--- Sets the front end, or takes it away.
-- @tparam ?table f
function front_end.set(f) current = f end

--- The front end, if there is one.
-- @treturn ?table
function front_end.get() return current end

return front_end
