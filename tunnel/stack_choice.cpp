#include "tunnel/stack_choice.hpp"

#include "tunnel/lwip_stack.hpp"

namespace rooster::tunnel {

std::optional<StackChoice> parse_stack_choice(std::string_view text) {
  if (text == "auto") return StackChoice::Auto;
  if (text == "netns") return StackChoice::Netns;
  if (text == "lwip") return StackChoice::Lwip;
  return std::nullopt;
}

Result<ChosenStack> choose_stack(Loop& loop, StackChoice choice, const NetnsOptions& options) {
  std::string why_not = "as asked for by --stack=lwip";
  if (choice != StackChoice::Lwip) {
    auto netns = make_netns_stack(loop, options);
    if (netns) {
      return ChosenStack{std::move(*netns), "stack netns: the kernel's TCP in a network namespace"};
    }
    if (choice == StackChoice::Netns) {
      return fail(Fault::Internal, "--stack=netns is not possible here: " + netns.error().detail);
    }
    why_not = "netns is not possible here: " + netns.error().detail;
  }
  auto lwip = make_lwip_stack(loop, {options.address, options.mtu});
  if (!lwip) {
    return fail(Fault::Internal, choice == StackChoice::Lwip
                                     ? "--stack=lwip: " + lwip.error().detail
                                     : why_not + "; lwip neither: " + lwip.error().detail);
  }
  return ChosenStack{std::move(*lwip), "stack lwip: " + why_not};
}

}  // namespace rooster::tunnel
