--- A class whose methods are written in several files.
--
-- A file does not modify the class of another one. A file with some of its methods returns them in a table, field
-- `methods`, and the class's own file adds them, so that the class is always complete:
--
--     local Model = {}
--     class.take(Model, "simvae.model.save", "simvae.train")
local class = {}

--- Adds the methods of other modules.
-- @tparam table methods of the class
-- @tparam string ... modules whose field `methods` is a table of functions by name
-- @treturn table methods
-- @raise a name that two of them give
function class.take(methods, ...)
  for _, module in ipairs { ... } do
    for name, method in pairs(require(module).methods) do
      if rawget(methods, name) ~= nil then
        error(string.format("%s: there is a method '%s' already", module, name), 2)
      end
      methods[name] = method
    end
  end
  return methods
end

return class
