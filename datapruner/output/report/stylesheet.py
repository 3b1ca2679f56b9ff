"""The style sheet of the report: light and dark, wide and narrow, by the reader's own settings."""

STYLE = """
:root { color-scheme: light dark; --page: #f7f6f3; --card: #fff; --ink: #1c1b19; --soft: #5f5b53;
  --line: #dedad1; --kept: #1d8a5b; --gone: #c3b9a6; --cut: #b3261e; --warn: #fdf1d7; --edge: #d79a1c;
  --diff: #ffe08a; }
@media (prefers-color-scheme: dark) { :root { --page: #161614; --card: #201f1d; --ink: #eceae4;
  --soft: #a8a49a; --line: #3a3833; --kept: #3fbf86; --gone: #6d675c; --cut: #ff8a80; --warn: #33290f;
  --edge: #a87b1e; --diff: #5c4a12; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
.all { max-width: 68rem; margin: 0 auto; padding: 2rem 1.1rem 3rem; }
.tag { margin: 0; color: var(--soft); font-size: .85rem; }
h1 { margin: .1rem 0 1.1rem; font-size: 1.7rem; line-height: 1.25; overflow-wrap: anywhere; }
h2 { margin: 2.2rem 0 .3rem; font-size: 1.2rem; }
h3 { margin: 0; font-size: 1rem; overflow-wrap: anywhere; }
p { margin: 0 0 .7rem; } .soft { color: var(--soft); font-size: .9rem; overflow-wrap: anywhere; }
code { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: .86em; overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: .8rem; margin: 0 0 1rem; }
.card, article { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .9rem 1.1rem; }
.card dt { color: var(--soft); font-size: .85rem; }
.card dd { margin: 0; font-variant-numeric: tabular-nums; }
.card .big { font-size: 1.45rem; font-weight: 650; line-height: 1.3; }
.warn { background: var(--warn); border: 1px solid var(--edge); border-left-width: .4rem; border-radius: .5rem;
  padding: .7rem 1rem; margin: 0 0 1rem; overflow-wrap: anywhere; } .warn p:last-child { margin: 0; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 30rem), 1fr)); gap: .8rem; }
figure { margin: .7rem 0 0; } figure svg { display: block; width: 100%; height: 9rem; }
.plot { position: relative; border-bottom: 1px solid var(--soft); }
.top { position: absolute; top: 0; left: 0; color: var(--soft); font-size: .75rem; }
.axis { display: flex; justify-content: space-between; color: var(--soft); font-size: .78rem;
  font-variant-numeric: tabular-nums; }
.axis span { flex: 1; text-align: center; } .axis span:first-child { text-align: left; }
.axis span:last-child { text-align: right; }
.break { fill: var(--card); }
.k { fill: var(--kept); } .d { fill: var(--gone); } .cut { stroke: var(--cut); stroke-width: 2;
  stroke-dasharray: 5 4; }
figcaption { color: var(--soft); font-size: .85rem; margin-top: .4rem; overflow-wrap: anywhere; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.3rem; margin: 0 0 .8rem; color: var(--soft);
  font-size: .88rem; }
.legend i { display: inline-block; width: .9rem; height: .9rem; border-radius: .2rem; margin-right: .45rem;
  vertical-align: -.1rem; background: var(--gone); } .legend .kept i { background: var(--kept); }
.legend .line i { width: 0; height: 1rem; border-radius: 0; background: none;
  border-left: 2px dashed var(--cut); }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
.wide { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .3rem .9rem;
  overflow-x: auto; }
th { text-align: left; color: var(--soft); font-weight: 500; font-size: .82rem; vertical-align: bottom; }
th, td { padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--line); }
th:last-child, td:last-child { padding-right: 0; } tbody tr:last-child td { border-bottom: 0; }
.n { text-align: right; white-space: nowrap; } td.name { overflow-wrap: anywhere; min-width: 7rem; }
td.bars { width: 34%; min-width: 6rem; } .bar { display: block; height: .5rem; border-radius: .15rem;
  background: var(--gone); min-width: 1px; } .bar + .bar { margin-top: 2px; } .bar.kept { background: var(--kept); }
.two { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: .8rem; align-items: start; }
.apart { column-gap: 1.8rem; } td small { display: inline-block; min-width: 4.2rem; color: var(--soft); }
.two > div > article + article, .list > * + * { margin-top: .7rem; }
.facts { display: flex; flex-wrap: wrap; gap: .1rem .9rem; margin: 0 0 .35rem; color: var(--soft); font-size: .82rem;
  overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.state { font-weight: 600; color: var(--kept); } .state.gone { color: var(--soft); text-decoration: line-through; }
.text { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font-size: .92rem; }
.text mark { background: var(--diff); color: inherit; border-radius: .15rem; padding: 0 .1em; }
.none { color: var(--soft); font-style: italic; margin: 0; }
summary { cursor: pointer; color: var(--soft); margin: .7rem 0; }
ol { margin: .3rem 0 1rem; padding-left: 1.3rem; } li { margin: .25rem 0; overflow-wrap: anywhere; }
@media (max-width: 40rem) { .all { padding-top: 1.1rem; } h1 { font-size: 1.35rem; }
  .two { grid-template-columns: 1fr; }
  .card, article { padding: .7rem .85rem; } .cards { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .card .big { font-size: 1.2rem; } td.bars, th.bars { display: none; }
  td small { display: block; min-width: 0; } }
@media print { details > * { display: block; } article { break-inside: avoid; } }
"""
