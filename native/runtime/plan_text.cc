#include <cstdio>

#include "runtime/plan.h"

namespace ziggurat {
namespace {

const char* PlaceName(Storage storage) {
  switch (storage) {
    case Storage::kInput:
      return "input";
    case Storage::kConstant:
      return "constant";
    case Storage::kCapture:
      return "captured";
    case Storage::kSlab:
      return "slab";
    case Storage::kOutput:
      return "output";
    case Storage::kDynamic:
      return "dynamic";
    case Storage::kView:
      return "in place";
    case Storage::kObject:
      return "object";
  }
  return "";
}

std::string SlotText(const Plan& plan, int index) {
  if (index < 0) return "_";
  const Slot& slot = plan.slots[index];
  return Cat("%", slot.value->name, ": ", plan.scope->ToString(slot.value->type));
}

void Print(const Plan& plan, const std::string& indent, std::string& out) {
  for (const Step& step : plan.steps) {
    std::string line = indent;
    for (size_t o = 0; o < step.outputs.size(); ++o) line += Cat(o ? ", " : "", SlotText(plan, step.outputs[o]));
    const std::string op = step.kind == Step::Kind::kCopy ? "copy" : std::string(step.node->op->name);
    line += Cat(" = ", op, "(");
    for (size_t i = 0; i < step.inputs.size(); ++i)
      line += Cat(i ? ", " : "", step.inputs[i] < 0 ? "_" : Cat("%", plan.slots[step.inputs[i]].value->name));
    line += ")  # ";
    line += step.kernel ? std::string(step.kernel->name()) : "runtime";
    line += Cat(" on ", plan.devices[step.device]->name());
    for (int slot : step.outputs)
      if (slot >= 0) line += Cat(", ", plan.PlaceOf(slot));
    if (!step.node->name.empty()) line += Cat("  (", step.node->name, ")");
    out += line + "\n";
    for (const auto& subplan : step.subplans) {
      out += Cat(indent, "  {", subplan->scope->name(), "\n");
      Print(*subplan, indent + "    ", out);
      out += indent + "  }\n";
    }
  }
}

}  // namespace

std::string Plan::PlaceOf(int index) const {
  const Slot& slot = slots[index];
  if (slot.storage != Storage::kView || slot.piece == Piece::kAll) return PlaceName(slot.storage);
  const Node* writer = slot.value->producer;
  const Value* whole = slots[slot.view_of].value;
  const bool is_cut = writer && (writer->op->Is("Split") || writer->op->Is("Slice")) && writer->Input(0) == whole;
  return Cat(!is_cut ? "part" : slot.piece == Piece::kRows ? "rows" : "columns", " of %", whole->name);
}

std::string Plan::ToString() const {
  std::string out;
  for (int slot : inputs) out += Cat("input ", SlotText(*this, slot), "\n");
  Print(*this, "", out);
  for (size_t i = 0; i < outputs.size(); ++i)
    out += Cat("output ", scope->output_names()[i], " <- ", SlotText(*this, outputs[i]), "\n");
  return out;
}

std::string Plan::Fingerprint() const {
  // FNV-1a over the printed plan, which names every kernel and with it the instruction set.
  uint64_t hash = 0xCBF29CE484222325ull;
  for (unsigned char c : ToString()) hash = (hash ^ c) * 0x100000001B3ull;
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

}  // namespace ziggurat
