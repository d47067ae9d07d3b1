"use strict";
{
  const data = JSON.parse(document.getElementById("graph-data").textContent);
  const graph = new WorkflowGraph();
  graph.onSearch = (words) => graph.find(words);
  graph.show(data);
}
