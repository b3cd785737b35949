"""What must hold for a function's bitcode, and what of it is rewritten, before it is compiled at any level?

The guest calls `int32_t f(int32_t, int32_t)`, cdecl, on an i686 without SSE and MMX (docs/debug-interface.md). What
differs and means the same there is rewritten and told; everything else is refused in a sentence. What the machine
code must keep to is in recompile/machine_code.py. LLVM may abort on damaged bitcode, so this runs in the worker only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import llvmlite.binding as llvm

from bareflow_gdb.guest.base.values import feature_name
from bareflow_gdb.recompile import assembly, ir, runtimes
from bareflow_gdb.recompile.recipe import CPU, RUNGS
from bareflow_gdb.recompile.refusal import BadBitcode

TRIPLE = "i686-unknown-none-elf"
_NO_VECTORS = "-mmx,-sse"
_NOT_IN_RUNGS = "-mmx,-fma,-f16c,-popcnt,-crc32,-bmi,-bmi2,-lzcnt"
"""What no rung brings, whatever LLVM takes to come along with it."""

ENTRY_TYPE = "i32 (i32, i32)"
_ADVICE = f"compile with --target={TRIPLE}"
_ARCHITECTURE = re.compile(r"i[3-6]86-")
_SYSTEMS = ("unknown", "none", "linux", "freebsd", "netbsd", "openbsd")
"""Their code is the same once the triple is ours; others have calls and start-up code of their own."""
_CPUS = ("", "generic", "i386", "i486", "i586", "pentium", "i686", "pentiumpro")
_FEATURES = ("x87", "cx8", "cmov", "nopl")
_INNER_CONVENTIONS = ("", "fastcc", "coldcc", "x86_stdcallcc", "x86_fastcallcc", "x86_thiscallcc")
"""Between functions of one module; others pass in SSE registers or return by IRET."""
_INTRINSICS = ("rdtsc", "rdpmc", "int", "flags.", "addcarry.32", "subborrow.32")
_EARLY = ("llvm.instrprof", "__ubsan_", "__asan_", "__llvm_")
"""Run-time libraries whose data would be refused for another reason, or that LLVM cannot do without."""
_DROPPED = ("internal", "private", "linkonce", "linkonce_odr", "available_externally")

_UNSUPPORTED = {"split-stack": "-fsplit-stack", "speculative_load_hardening": "-mspeculative-load-hardening"}
"""LLVM dies of them."""

_GLOBAL = re.compile(r'@(?P<name>"[^"]*"|[^ ]+) = (?P<flags>.*?)\b(?P<kind>global|constant|alias|ifunc)\b')
_FUNCTION = re.compile(r'(?P<kind>define|declare) (?P<before>.*?)@(?P<name>"[^"]*"|[^ (]+)\(')
_CONVENTION = re.compile(r"\b(?:cc \d+|\w*[a-z]cc)\b")
_START_UP = re.compile(r'section "\.?(?:preinit_array|init_array|fini_array|ctors|dtors)')
_FLAG = re.compile(r'^!\d+ = (?:distinct )?!\{i32 \d+, !"(?P<name>[\w-]+)", i32 (?P<value>\d+)\}', re.MULTILINE)
# LLVM's printer escapes quotes inside strings, so nothing else in the text can look like one of these.
_TARGET = re.compile(r' ?"(?:target-cpu|target-features|use-soft-float)"(?:="[^"]*")?')
_PROTECTOR = re.compile(r"^(attributes #.*?) ssp(?:strong|req)?(?= )", re.MULTILINE)
# Renamed, as LLVM asks whether there is such a flag, not what it says.
_BRANCHES = re.compile(r'^(!\d+ = !\{i32 \d+, !")cf-protection-', re.MULTILINE)


def target(cpu: str) -> tuple[str, str]:
    """LLVM's CPU and features for a recipe's `cpu`. No vector registers are saved: one version runs at a time."""
    return (CPU, f"+{cpu.replace('_', '.')},{_NOT_IN_RUNGS}") if cpu in RUNGS else (cpu, _NO_VECTORS)


def accept(module: llvm.ModuleRef, entry: str, layout: str, cpu: str = CPU) -> tuple[llvm.ModuleRef, list[str]]:
    """The module as it is compiled for the guest, and a sentence for each thing that was rewritten.

    `layout` is the data layout of TRIPLE, `cpu` what the code is laid out for. Raises BadBitcode unless the module can
    become a version of a JIT function that starts at `entry`.
    """
    _check_target(module, layout)
    text = str(module)
    _check_functions(module, text, entry)
    _check_variables(text)
    _check_flags(text)
    assembly.check(text)
    changed, notes = _for_guest(text, cpu)
    if notes:
        module = ir.parse_text(changed)
    module.triple, module.data_layout = TRIPLE, layout
    return module, notes


def _check_target(module: llvm.ModuleRef, layout: str) -> None:
    triple = module.triple
    if not _ARCHITECTURE.match(triple):
        raise BadBitcode(f"the bitcode is for {triple or 'no target'}; {_ADVICE}")
    parts = llvm.get_triple_parts(triple)
    if parts.ObjectFormat != "ELF" or parts.OS not in _SYSTEMS or parts.Env == "code16":
        what = "16-bit code" if parts.Env == "code16" else f"{parts.OS} ({parts.ObjectFormat})"
        raise BadBitcode(f"the bitcode is for {triple}: {what}, not a bare i686 with ELF; {_ADVICE}")
    if module.data_layout not in ("", layout):
        raise BadBitcode(
            f"the bitcode lays data out as {module.data_layout}, the guest as {layout}; {_ADVICE} and no ABI options"
        )


def _check_functions(module: llvm.ModuleRef, text: str, entry: str) -> None:
    heads = list(_lines(_FUNCTION, text, "d"))  # in the module's order
    defined = {function.name: function for function in module.functions if not function.is_declaration}
    if entry not in defined:
        known = ", ".join(sorted(defined)) or "none"
        raise BadBitcode(f"the bitcode has no function {entry}, only {known}; name its entry")
    for function, head in zip(module.functions, heads, strict=True):
        convention = _CONVENTION.search(head["before"])
        _check_convention(function, convention[0] if convention else "", entry)
        if not function.is_declaration:
            _check_body(function)
    _check_entry(defined[entry])


def _check_convention(function: llvm.ValueRef, convention: str, entry: str) -> None:
    name = function.name
    if name.startswith("llvm.x86.") and not name.startswith(tuple(f"llvm.x86.{i}" for i in _INTRINSICS)):
        raise BadBitcode(
            f"{name} is an intrinsic of a wider CPU than the guest's i686 without SSE and MMX; "
            "write it in plain C, or leave it out for this target"
        )
    in_registers = any(
        b"inreg" in attribute.split() for argument in function.arguments for attribute in argument.attributes
    )
    library = runtimes.needed([name]) if name.startswith(_EARLY) else ""
    if library:
        raise BadBitcode(library)
    if function.is_declaration or name == entry:
        called = "the guest calls it" if name == entry else "the kernel's functions are called"
        if convention not in ("", "ccc"):
            raise BadBitcode(f"{name} has the calling convention {convention}, {called} as cdecl; declare it without")
        if in_registers and not name.startswith("llvm."):
            raise BadBitcode(
                f"{name} takes arguments in registers, {called} with all of them on the stack; "
                "compile without -mregparm"
            )
    elif convention not in _INNER_CONVENTIONS:
        raise BadBitcode(
            f"{name} has the calling convention {convention}, which the guest's i686 does not offer; declare it without"
        )


def _check_body(function: llvm.ValueRef) -> None:
    attributes = b" ".join(function.attributes)
    name = function.name
    if re.search(rb"\boptnone\b", attributes):
        raise BadBitcode(
            f"{name} is marked optnone, so every level would be O0; compile with -O1 -Xclang -disable-llvm-passes"
        )
    for attribute, flag in _UNSUPPORTED.items():
        if attribute.encode() in attributes:
            raise BadBitcode(f"{name} needs what LLVM does not offer on an i686; compile without {flag}")
    if b'"frame-pointer"="all"' not in attributes:
        raise BadBitcode(f"{name} does not keep a frame pointer; compile with -fno-omit-frame-pointer")


def _check_entry(function: llvm.ValueRef) -> None:
    kind = str(function.global_value_type)
    if kind != ENTRY_TYPE:
        raise BadBitcode(
            f"{function.name} is {kind}, the guest calls {ENTRY_TYPE}; declare it as "
            f"int32_t {function.name}(int32_t a, int32_t b)"
        )
    linkage = function.linkage.name
    if linkage in _DROPPED:
        raise BadBitcode(f"{function.name} is {linkage}, so LLVM may drop it; declare it without `static` and `inline`")


def _check_variables(text: str) -> None:
    """Writable data must have external linkage: LLVM splits, shrinks or drops a `static` differently at each level,
    and all versions of a function share one copy of it."""
    for match in _lines(_GLOBAL, text, "@"):
        name, flags, line = match["name"].strip('"'), match["flags"].split(), match.string
        if match["kind"] == "ifunc":
            raise BadBitcode(f"{name} is an ifunc, which a run-time start-up would have to resolve; call one function")
        if any(flag.startswith("thread_local") for flag in flags):
            raise BadBitcode(f"{name} is thread-local, and the guest has no threads; drop `_Thread_local`")
        starts = name in ("llvm.global_ctors", "llvm.global_dtors") and "[0 x" not in line
        if starts or _START_UP.search(line):
            raise BadBitcode(
                f"{name} needs a run-time start-up that a JIT function has not (constructors, destructors); "
                "initialise with constants"
            )
        if match["kind"] == "global" and {"internal", "private"} & set(flags):
            raise BadBitcode(
                f"writable data {name} is static, and LLVM lays statics out differently at each "
                "level; drop `static` so that all versions can share one copy"
            )


def _check_flags(text: str) -> None:
    flags = {match["name"]: int(match["value"]) for match in _FLAG.finditer(text)}
    if flags.get("NumRegisterParameters"):
        raise BadBitcode(
            "the module passes arguments in registers, and the kernel's functions take them from the stack; "
            "compile without -mregparm"
        )
    if flags.get("override-stack-alignment", 0) > 16:
        raise BadBitcode(
            f"the module expects a stack aligned to {flags['override-stack-alignment']} bytes, the guest's is aligned "
            "to 16; compile without -mstack-alignment"
        )


def _for_guest(text: str, cpu: str) -> tuple[str, list[str]]:
    """The text with the guest's CPU in place of another one, and without protection that the kernel does not have."""
    notes = []
    cpus = set(re.findall(r'"target-cpu"="([^"]*)"', text)) - set(_CPUS)
    features = {f for listed in re.findall(r'"target-features"="([^"]*)"', text) for f in listed.split(",") if f}
    wider = {f[1:] for f in features if f[0] == "+"} - set(_FEATURES)
    narrower = {"no x87"} if "-x87" in features or '"use-soft-float"="true"' in text else set()
    if cpus or wider or narrower:
        text = _TARGET.sub("", text)
        before = ", ".join([*sorted(cpus), *sorted(wider), *narrower])
        how = "" if cpu in RUNGS else " without SSE and MMX, floats with x87"
        notes.append(f"built for {before}: compiled for the guest's {CPU}{how}")
    if cpu != CPU:
        # What the functions themselves say would count more.
        text = _TARGET.sub("", text)
        notes.append(
            f"compiled with {feature_name(cpu)} and what that builds on"
            if cpu in RUNGS
            else f"laid out for {cpu}, with the instructions that the guest has"
        )
    text, protected = _PROTECTOR.subn(r"\1", text)
    if protected:
        notes.append("the stack protector is left out: the kernel has no canary")
    text, marked = _BRANCHES.subn(r"\1left-out-", text)
    if marked:
        notes.append("branch protection (CET) is left out: the guest's CPU has none")
    return text, notes


def _lines(pattern: re.Pattern[str], text: str, first: str) -> Iterator[re.Match[str]]:
    """The lines of the module itself, not of a function's body, that match."""
    return (match for line in text.split("\n") if line.startswith(first) and (match := pattern.match(line)))
