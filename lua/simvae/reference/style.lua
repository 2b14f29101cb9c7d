--- The style sheet of the reference's page: light and dark by the reader's preference, one column below 900 px.
return [[
:root { color-scheme: light dark; --ink: #1d2430; --soft: #5b6472; --line: #dfe3e8; --ground: #ffffff; --panel: #f4f6f8;
  --link: #0b5cad; --word: #8a3ab9; --text: #1a7a3c; --note: #6b7280; --number: #a05a00; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ee; --soft: #9aa4b2; --line: #313844; --ground: #14181f; --panel: #1c222b; --link: #76b3f5;
    --word: #c79bf0; --text: #7fd09b; --note: #8b95a3; --number: #e0a863; }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 72px; }
body { margin: 0; font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; color: var(--ink);
  background: var(--ground); }
a { color: var(--link); text-decoration: none; } a:hover { text-decoration: underline; }
header { position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap; gap: 4px 24px; align-items: center;
  padding: 8px 20px; background: var(--ground); border-bottom: 1px solid var(--line); }
header h1 { font-size: 1.25rem; margin: 0; }
header div { display: flex; flex: 1 1 240px; gap: 10px; align-items: center; min-width: 0; }
#search { flex: 1 1 auto; max-width: 520px; min-width: 0; font: inherit; padding: 6px 12px; border-radius: 8px;
  border: 1px solid var(--line); background: var(--panel); color: var(--ink); }
#count { white-space: nowrap; font-size: .9rem; }
.columns { display: grid; grid-template-columns: minmax(0, 1fr); max-width: 1240px; margin: 0 auto; }
nav { padding: 12px 20px 0; font-size: .92rem; }
nav ul { list-style: none; margin: 2px 0 8px; padding-left: 16px; } nav li { padding: 1px 0; overflow-wrap: anywhere; }
nav #contents > summary { font-weight: 600; }
summary { cursor: pointer; }
main { padding: 8px 20px 80px; min-width: 0; }
h2 { font-size: 1.5rem; margin: 48px 0 8px; border-bottom: 2px solid var(--line); padding-bottom: 6px; }
h3 { font: 600 1.02rem/1.5 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; margin: 0 0 6px;
  overflow-wrap: anywhere; }
h4 { font-size: .82rem; text-transform: uppercase; letter-spacing: .04em; color: var(--soft); margin: 14px 0 4px; }
summary h4 { display: inline; }
section { padding: 18px 0; border-bottom: 1px solid var(--line); }
section[hidden], .chapter[hidden] { display: none; }
section:target { box-shadow: -4px 0 0 var(--link); padding-left: 12px; }
p { margin: 6px 0; } ul { margin: 4px 0; padding-left: 20px; } li { overflow-wrap: anywhere; }
dl { margin: 4px 0 4px 4px; } dt { margin-top: 6px; overflow-wrap: anywhere; } dd { margin: 0 0 0 16px; }
code, pre { font: .9em/1.5 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
pre code { font: inherit; }
p code, li code, dt code, dd code { background: var(--panel); padding: 0 4px; border-radius: 4px; }
pre { background: var(--panel); border-radius: 8px; padding: 10px 14px; overflow-x: auto; margin: 6px 0; }
pre.output { background: none; border: 1px solid var(--line); line-height: 1.25; max-height: 420px; overflow-y: auto; }
img { display: block; max-width: 100%; height: auto; margin: 10px 0; border-radius: 6px; background: #fff; }
.type, .soft { color: var(--soft); } .type { font-size: .92em; } .source { font-size: .85rem; }
.word { color: var(--word); } .text { color: var(--text); } .note { color: var(--note); }
.number { color: var(--number); }
@media (min-width: 900px) {
  .columns { grid-template-columns: 240px minmax(0, 1fr); }
  nav { position: sticky; top: 56px; height: calc(100vh - 56px); overflow-y: auto; padding-bottom: 40px; }
  nav #contents > summary { display: none; }
}
@media (max-width: 600px) {
  html { scroll-padding-top: 110px; }
  body { font-size: 15px; } header { padding: 8px 12px; } main { padding: 4px 12px 60px; } nav { padding: 8px 12px 0; }
  pre { padding: 8px 10px; } dd { margin-left: 10px; }
}
@media print { header div, nav { display: none; } header { position: static; } pre { white-space: pre-wrap; } }
]]
