#!/usr/bin/env python3
"""Make a fault point of every call that the controller can make: each member of
struct pd_provider_ops (controller/provider.h) and each function of the store
(common/store.h). What the headers say is all there is to it: a call that is
added to them has its fault point at the next build.

  fault_points.py PROVIDER_H STORE_H OUT_C     the wrappers, as C
  fault_points.py --wrap STORE_H               their names, for the linker's --wrap
"""
import re
import sys


def without_comments(path):
    with open(path) as file:
        return re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)


def split_parameters(text):
    """Commas inside of parentheses (function pointers) do not separate."""
    parts, depth, part = [], 0, ""
    for char in text:
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            parts.append(part.strip())
            part = ""
        else:
            part += char
    return parts + [part.strip()]


def name_of(parameter):
    pointer = re.search(r"\(\*(\w+)\)", parameter)
    return pointer.group(1) if pointer else re.search(r"(\w+)$", parameter).group(1)


def provider_calls(path):
    """(name, result, parameters) of each function of the provider."""
    body = re.search(r"struct pd_provider_ops \{(.*?)\n\};", without_comments(path), re.S).group(1)
    calls = []
    for member in body.split(";"):
        match = re.match(r"\s*(\w+) \(\*(\w+)\)\((.*)\)\s*$", member, re.S)
        if match:
            calls.append((match.group(2), match.group(1), split_parameters(" ".join(match.group(3).split()))))
        elif "(" in member:
            sys.exit(f"a member that is not understood: {member.strip()}")
    return calls


def store_calls(path):
    """Likewise of the store's functions."""
    text = re.sub(r"^#.*$", "", without_comments(path), flags=re.M)
    text = re.sub(r"__attribute__\(\(.*?\)\)(?=;)", "", text, flags=re.S)
    calls = []
    for declaration in text.split(";"):
        declaration = " ".join(declaration.split())
        match = re.match(r"^((?:const )?(?:struct |enum )?\w+ \*?)(pd_store_\w+)\((.*)\)$", declaration)
        if match and not declaration.startswith("typedef"):
            calls.append((match.group(2), match.group(1).strip(), split_parameters(match.group(3))))
        elif re.search(r"\bpd_store_\w+\(", declaration):
            sys.exit(f"a declaration that is not understood: {declaration}")
    return calls


def write_provider(out, calls):
    for name, result, parameters in calls:
        names = [name_of(p) for p in parameters]
        out.append(f"static {result} faulty_{name}({', '.join(parameters)})\n{{")
        fails = result == "int" and names[-1] == "err"
        if fails:
            out.append(f"    if (fault_point_refuses(\"provider.{name}\"))")
            out.append("        return pd_err_set(err, PD_UNAVAILABLE, \"refused at a fault point\");")
        else:
            out.append(f"    fault_point(\"provider.{name}\");")
        call = f"fault_real(provider)->ops->{name}({', '.join(['fault_real(provider)'] + names[1:])})"
        out.append(f"    {'return ' if result != 'void' else ''}{call};\n}}\n")
    out.append("static const struct pd_provider_ops faulty_ops = {\n    .name = \"faulty\",")
    out += [f"    .{name} = faulty_{name}," for name, _, _ in calls]
    out.append("};\n")


def write_store(out, calls):
    for name, result, parameters in calls:
        join = "" if result.endswith("*") else " "
        variadic = parameters[-1] == "..."
        names = [name_of(p) for p in parameters if p != "..."]
        signature = ", ".join(parameters)
        out.append(f"{result}{join}__real_{name}({signature});")
        out.append(f"{result}{join}__wrap_{name}({signature})" +
                   (f" __attribute__((format(printf, {len(names)}, {len(names) + 1})));"
                    if variadic else ";"))
        out.append(f"{result}{join}__wrap_{name}({signature})\n{{")
        if variadic:
            out.append(f"    char text[512];\n    va_list ap;\n\n    va_start(ap, {names[-1]});")
            out.append(f"    vsnprintf(text, sizeof text, {names[-1]}, ap);\n    va_end(ap);")
            names = names[:-1] + ['"%s"', "text"]
        if result == "int" and names[-1] == "err":
            out.append(f"    if (fault_point_refuses(\"{name}\"))")
            out.append("        return pd_err_set(err, PD_UNAVAILABLE, \"refused at a fault point\");")
        else:
            out.append(f"    fault_point(\"{name}\");")
        out.append(f"    {'return ' if result != 'void' else ''}__real_{name}({', '.join(names)});\n}}\n")


def write_table(out, provider, store):
    out.append("static const struct fault_call fault_calls[] = {")
    for name, result, parameters in provider:
        asks = "true" if result == "int" and parameters[-1].endswith("*err") else "false"
        out.append(f"    {{\"provider.{name}\", {asks}, {asks}}},")
    for name, result, parameters in store:
        fails = "true" if result == "int" and parameters[-1].endswith("*err") else "false"
        out.append(f"    {{\"{name}\", {fails}, false}},")
    out.append("};")


def main():
    if sys.argv[1] == "--wrap":
        print(";".join(name for name, _, _ in store_calls(sys.argv[2])))
        return
    provider, store = provider_calls(sys.argv[1]), store_calls(sys.argv[2])
    out = ["/* Made by tests/lib/fault_points.py; see there. Parameters keep the headers' names. */",
           '#pragma GCC diagnostic ignored "-Wshadow"']
    write_provider(out, provider)
    write_store(out, store)
    write_table(out, provider, store)
    with open(sys.argv[3], "w") as file:
        file.write("\n".join(out) + "\n")


main()
