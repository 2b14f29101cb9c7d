std = "lua54"
max_line_length = 120
ignore = {
  "211/_?scope", "211/_?tape", "211/_precision", "211/frozen", -- to-be-closed variables: their use is to go out of scope
  "212/self",                  -- a method has it whether or not it needs it
}
exclude_files = { "spec/fixtures" } -- written by scripts
files["spec"].std = "+busted"
files["rockspec"].std = "+rockspec"
