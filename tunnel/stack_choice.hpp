// Which stack a client uses: the kernel's where namespaces are allowed, lwIP elsewhere.
#pragma once

#include "tunnel/netns_stack.hpp"
#include "tunnel/stack.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace rooster::tunnel {

enum class StackChoice : std::uint8_t { Auto, Netns, Lwip };

/// "auto", "netns" or "lwip".
std::optional<StackChoice> parse_stack_choice(std::string_view text);

struct ChosenStack {
  std::unique_ptr<Stack> stack;
  /// One line for -v: which, and why not the other.
  std::string explanation;
};

/// Makes it; takes some milliseconds, and may fork: before any thread starts. Errors: Internal, a
/// sentence for a person.
Result<ChosenStack> choose_stack(Loop& loop, StackChoice choice, const NetnsOptions& options);

}  // namespace rooster::tunnel
