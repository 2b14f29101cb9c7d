--- What a person should know and may go on with: a line on standard error, once for each model and subject.

--- @tparam Model model
-- @tparam string subject what it is about: the same is said once
-- @tparam string text one sentence
-- @treturn boolean whether it was said now
return function(model, subject, text)
  model.noticed = model.noticed or {}
  if model.noticed[subject] then return false end
  model.noticed[subject] = text
  io.stderr:write("simvae: ", text, "\n")
  return true
end
