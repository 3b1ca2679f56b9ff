"""The report's own styles, behind those that all pages have in common (`prunekernels.io.html_page`)."""

STYLE = """
:root { --kept: #1d8a5b; --gone: #c3b9a6; --cut: #b3261e; --warn: #fdf1d7; --edge: #d79a1c; --diff: #ffe08a; }
@media (prefers-color-scheme: dark) { :root { --kept: #3fbf86; --gone: #6d675c; --cut: #ff8a80; --warn: #33290f;
  --edge: #a87b1e; --diff: #5c4a12; } }
.warn { background: var(--warn); border: 1px solid var(--edge); border-left-width: .4rem; border-radius: .5rem;
  padding: .7rem 1rem; margin: 0 0 1rem; overflow-wrap: anywhere; } .warn p:last-child { margin: 0; }
.break { fill: var(--card); }
.k { fill: var(--kept); } .d { fill: var(--gone); } .cut { stroke: var(--cut); stroke-width: 2;
  stroke-dasharray: 5 4; }
.legend i { display: inline-block; width: .9rem; height: .9rem; border-radius: .2rem; margin-right: .45rem;
  vertical-align: -.1rem; background: var(--gone); } .legend .kept i { background: var(--kept); }
.legend .line i { width: 0; height: 1rem; border-radius: 0; background: none;
  border-left: 2px dashed var(--cut); }
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
ol { margin: .3rem 0 1rem; padding-left: 1.3rem; } li { margin: .25rem 0; overflow-wrap: anywhere; }
@media (max-width: 40rem) { .two { grid-template-columns: 1fr; }
  td.bars, th.bars { display: none; } td small { display: block; min-width: 0; } }
"""
