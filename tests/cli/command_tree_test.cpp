#include "cli/command_tree.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace rooster::cli {
namespace {

CommandInfo tree() {
  CommandInfo root{
      .name = "rooster",
      .help = "",
      .flags = {{"--config", "-c", "The node's file", true}, {"--json", "", "JSON", false}},
      .commands = {}};
  root.commands.push_back({.name = "serve", .help = "Run", .flags = {}, .commands = {}});
  root.commands.push_back({.name = "status",
                           .help = "Look",
                           .flags = {{"--app", "-a", "It's one", true}},
                           .commands = {}});
  CommandInfo machine{.name = "machine", .help = "Machines", .flags = {}, .commands = {}};
  machine.commands.push_back({.name = "start", .help = "", .flags = {}, .commands = {}});
  machine.commands.push_back(
      {.name = "stop", .help = "", .flags = {{"--signal", "-s", "", true}}, .commands = {}});
  root.commands.push_back(machine);
  return root;
}

TEST(Nearest, FindsWhatWasMeant) {
  const std::vector<std::string> known{"serve", "status", "machine", "logs"};
  EXPECT_EQ(nearest("srve", known), "serve");
  EXPECT_EQ(nearest("sevre", known), "serve") << "swapped neighbours";
  EXPECT_EQ(nearest("machines", known), "machine");
  EXPECT_EQ(nearest("statsu", known), "status");
  EXPECT_EQ(nearest("deploy", known), std::nullopt);
  EXPECT_EQ(nearest("", known), std::nullopt);
}

TEST(FindUnknown, NamesTheFirstWordThatIsNotKnown) {
  EXPECT_EQ(find_unknown(tree(), {"srve"}), "unknown command \"srve\"; did you mean \"serve\"?");
  EXPECT_EQ(find_unknown(tree(), {"machine", "strat"}),
            "unknown command \"strat\"; did you mean \"start\"?");
  EXPECT_EQ(find_unknown(tree(), {"status", "--ap", "x"}),
            "unknown flag \"--ap\"; did you mean \"--app\"?");
  EXPECT_EQ(find_unknown(tree(), {"status", "--cofnig=x"}),
            "unknown flag \"--cofnig\"; did you mean \"--config\"?");
}

TEST(FindUnknown, KnowsFlagsOfTheCommandsAboveAndTheirValues) {
  EXPECT_EQ(find_unknown(tree(), {"-c", "srve", "status", "-a", "x", "--json"}), std::nullopt);
  EXPECT_EQ(find_unknown(tree(), {"status", "-cfile"}), std::nullopt);
  EXPECT_EQ(find_unknown(tree(), {"machine", "start", "any", "words"}), std::nullopt);
}

// What bash offers for a line, by running the script in bash.
std::string bash_offers(const std::string& words) {
  const auto file =
      std::filesystem::temp_directory_path() / ("rooster-completion-" + std::to_string(getpid()));
  std::ofstream(file)
      << bash_completion(tree()) << "COMP_WORDS=(" << words
      << "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _rooster; echo \"${COMPREPLY[*]}\"\n";
  FILE* pipe = popen(("bash --norc " + file.string()).c_str(), "r");
  std::string out(1000, '\0');
  out.resize(fread(out.data(), 1, out.size(), pipe));
  EXPECT_EQ(pclose(pipe), 0);
  std::filesystem::remove(file);
  return out;
}

TEST(BashCompletion, OffersCommandsAndFlagsWhereTheyFit) {
  EXPECT_EQ(bash_offers("rooster s"), "serve status\n");
  EXPECT_EQ(bash_offers("rooster machine ''"), "start stop --config -c --json\n");
  EXPECT_EQ(bash_offers("rooster machine stop 123 --s"), "--signal\n");
  EXPECT_EQ(bash_offers("rooster --json status --a"), "--app\n");
}

TEST(Completion, ExistsForZshAndFish) {
  const std::string zsh = zsh_completion(tree());
  EXPECT_TRUE(zsh.starts_with("#compdef rooster\n"));
  EXPECT_NE(zsh.find("'machine stop') entries=( '--config:"), std::string::npos);
  const std::string fish = fish_completion(tree());
  EXPECT_NE(fish.find("complete -c rooster -n '__fish_use_subcommand' -a 'serve' -d 'Run'"),
            std::string::npos);
  EXPECT_NE(
      fish.find("-n '__fish_seen_subcommand_from status' -l app -s a -r -F -d 'It'\\''s one'"),
      std::string::npos);
}

}  // namespace
}  // namespace rooster::cli
