"""The tools, resources and the prompt behind the protocol."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

from mcp import types
from mcp.server import Server
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel, ValidationError

from procedural_memory import __version__
from procedural_memory.engine import ProceduralMemoryEngine
from procedural_memory.graphs.formats import node_link
from procedural_memory.mcp_server import models as wire
from procedural_memory.mcp_server.recalled import NOTICE, as_data
from procedural_memory.mcp_server.tools import TOOLS, pattern_page, pattern_with_id, usual_workflows
from procedural_memory.server.backend import Backend
from procedural_memory.server.refusals import refusal_of, told

__all__ = ["create_server"]

T = TypeVar("T")

_SCHEME: Final = "procedural-memory://"
_PATTERNS: Final = f"{_SCHEME}patterns"
_GRAPH: Final = f"{_SCHEME}graph"
_PATTERN: Final = re.compile(rf"{re.escape(_PATTERNS)}/([0-9A-Za-z_-]{{8,128}})")
_PROMPT: Final = "run_usual_workflow"
_LONGEST_TASK: Final = 1_000
_LISTED: Final = 100
"""Patterns of the resource that lists them."""

_INSTRUCTIONS: Final = (
    "A memory of the command workflows of this user: what usually comes next, how well it ended before, and why. Ask "
    "predict_next_action before a multi-step task such as a release or a deployment, and learn_workflow when one is "
    f"finished. {NOTICE}"
)


def create_server(backend: Backend) -> Server[Any]:
    """Return a server of the Model Context Protocol for one engine.

    Parameters
    ----------
    backend : Backend
        Runs calls of the engine off the event loop; it belongs to the caller.
    """

    async def ask(work: Callable[[ProceduralMemoryEngine], T]) -> T:
        """Return what `work` makes of the engine; its errors without what only the machine's owner may know."""
        try:
            return await backend.run(work)
        except Exception as error:
            raise MCPError(types.INTERNAL_ERROR, refusal_of(error)[1]) from error

    async def list_tools(_: _Context, asked: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=_tools())

    async def call_tool(_: _Context, asked: types.CallToolRequestParams) -> types.CallToolResult:
        tool = TOOLS.get(asked.name)
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, f"name: must be one of {', '.join(TOOLS)}")
        try:
            request = tool.request.model_validate(asked.arguments or {})
        except ValidationError as error:
            raise MCPError(types.INVALID_PARAMS, told(error.errors())) from error
        try:
            answer = await backend.run(lambda engine: tool.work(engine, request))
        except Exception as error:
            return types.CallToolResult(content=[_text(refusal_of(error)[1])], is_error=True)
        value = answer.model_dump(mode="json")
        return types.CallToolResult(content=[_text(_shown(answer))], structured_content=value)

    async def list_resources(_: _Context, asked: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=_resources())

    async def list_templates(
        _: _Context, asked: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        return types.ListResourceTemplatesResult(
            resource_templates=[
                types.ResourceTemplate(
                    uri_template=f"{_PATTERNS}/{{pattern_id}}",
                    name="pattern",
                    title="A learned workflow",
                    description="Its commands, templates and outcomes.",
                    mime_type="application/json",
                )
            ]
        )

    async def read_resource(_: _Context, asked: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        uri = str(asked.uri)
        named = _PATTERN.fullmatch(uri)
        if uri == _GRAPH:
            text = await ask(_graph)
        elif uri == _PATTERNS:
            text = await ask(lambda engine: _json(pattern_page(engine, wire.ListPatternsRequest(limit=_LISTED))))
        elif named is not None:
            text = await ask(lambda engine: _json(pattern_with_id(engine, named[1])))
        else:
            raise MCPError(types.INVALID_PARAMS, "uri: there is no such resource", {"uri": uri[:200]})
        content = types.TextResourceContents(uri=uri, mime_type="application/json", text=text)
        return types.ReadResourceResult(contents=[content])

    async def list_prompts(_: _Context, asked: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
        return types.ListPromptsResult(prompts=[_prompt()])

    async def get_prompt(_: _Context, asked: types.GetPromptRequestParams) -> types.GetPromptResult:
        if asked.name != _PROMPT:
            raise MCPError(types.INVALID_PARAMS, f"name: must be {_PROMPT}")
        given = asked.arguments or {}
        task = str(given.get("task", "")).strip()
        if not task or len(task) > _LONGEST_TASK or set(given) != {"task"}:
            rule = f"arguments: must be a task, and nothing else, of at most {_LONGEST_TASK:,} characters"
            raise MCPError(types.INVALID_PARAMS, rule)
        found = await ask(lambda engine: usual_workflows(engine, task))
        message = types.PromptMessage(role="user", content=_text(_told(task, found)))
        return types.GetPromptResult(description=f"Run the usual workflow for {task}", messages=[message])

    return Server(
        "procedural-memory",
        version=__version__,
        title="Procedural memory",
        instructions=_INSTRUCTIONS,
        get_tool_input_schema=lambda name: _SCHEMAS.get(name),
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read_resource,
        on_list_prompts=list_prompts,
        on_get_prompt=get_prompt,
    )


_Context = ServerRequestContext[Any, Any]
_SCHEMAS: Final = {name: tool.request.model_json_schema() for name, tool in TOOLS.items()}


def _tools() -> list[types.Tool]:
    return [
        types.Tool(
            name=name,
            title=tool.title,
            description=tool.description,
            input_schema=_SCHEMAS[name],
            output_schema=tool.response.model_json_schema(mode="serialization"),
            annotations=tool.annotations,
        )
        for name, tool in TOOLS.items()
    ]


def _resources() -> list[types.Resource]:
    return [
        types.Resource(
            uri=_PATTERNS,
            name="patterns",
            title="Learned workflows",
            description=f"The {_LISTED} most followed workflows, with their outcomes.",
            mime_type="application/json",
        ),
        types.Resource(
            uri=_GRAPH,
            name="graph",
            title="Workflow graph",
            description="Which command follows which, how often and how well: node-link data of the most used ones.",
            mime_type="application/json",
        ),
    ]


def _prompt() -> types.Prompt:
    task = types.PromptArgument(name="task", description="What is to be done, as 'release' or 'deploy'.", required=True)
    return types.Prompt(
        name=_PROMPT,
        title="Run the usual workflow for …",
        description="Recall how a task is usually done here, and do it step by step.",
        arguments=[task],
    )


def _told(task: str, found: list[wire.PatternModel]) -> str:
    asked = f"Run the usual workflow for: {task}"
    if not found:
        return f"{asked}\n\nThe memory knows no workflow for it. Do not make one up: ask me how it is done."
    return (
        f"{asked}\n\nBelow is how it was done before, the best match first. Choose the workflow that fits the task and "
        "the state of the project, say which steps you will run, and run them one by one: look at the result of each "
        "before the next, leave out what does not apply, and ask me before any step that can lose data. Stop when a "
        f"step fails.\n\n{as_data([pattern.model_dump(mode='json') for pattern in found])}"
    )


def _graph(engine: ProceduralMemoryEngine) -> str:
    return wire.GraphResource(graph=node_link(engine.graph_view())).model_dump_json()


def _json(answer: BaseModel) -> str:
    return answer.model_dump_json()


def _shown(answer: BaseModel) -> str:
    value = answer.model_dump(mode="json")
    notice = value.pop("notice", None)
    return as_data(value) if notice else answer.model_dump_json()


def _text(text: str) -> types.TextContent:
    return types.TextContent(type="text", text=text)
