--- Notices: a line on standard error, once for each model and subject.

--- @tparam Model model its `noticed` keeps the text by subject
-- @tparam string subject what it is about: the same is said once
-- @tparam string text one sentence
return function(model, subject, text)
  if model.noticed[subject] then return end
  model.noticed[subject] = text
  io.stderr:write("simvae: ", text, "\n")
end
