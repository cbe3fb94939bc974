// What the editor begins with, and how languages are called.
export const titles = {
  python: "Python", javascript: "JavaScript", typescript: "TypeScript", bash: "Bash", c: "C", cpp: "C++", java: "Java",
  go: "Go", ruby: "Ruby", php: "PHP", perl: "Perl", lua: "Lua", r: "R",
};

const samples = {
  python: `import time

for n in range(1, 6):
    print(f"line {n} of 5")
    time.sleep(0.3)

name = input("What is your name? ")
print(f"\\033[32mHello, {name}!\\033[0m")
`,
  javascript: `for (let n = 1; n <= 5; n++) {
  console.log(\`line \${n} of 5\`);
  await new Promise((done) => setTimeout(done, 300));
}
`,
  typescript: `const squares: number[] = [1, 2, 3].map((n: number) => n * n);
console.log(squares);
`,
  bash: `for n in 1 2 3 4 5; do
    echo "line $n of 5"
    sleep 0.3
done
read -rp "What is your name? " name
echo "Hello, $name!"
`,
  c: `#include <stdio.h>

int main(void)
{
    puts("Hello from C");
    return 0;
}
`,
  cpp: `#include <iostream>

int main()
{
    std::cout << "Hello from C++\\n";
}
`,
  java: `public class Main {
    public static void main(String[] args) {
        System.out.println("Hello from Java");
    }
}
`,
  go: `package main

import "fmt"

func main() {
	fmt.Println("Hello from Go")
}
`,
  ruby: `puts "Hello from Ruby"\n`,
  php: `<?php\necho "Hello from PHP\\n";\n`,
  perl: `print "Hello from Perl\\n";\n`,
  lua: `print("Hello from Lua")\n`,
  r: `cat("Hello from R\\n")\n`,
};

export const sampleOf = (language) => samples[language] ?? "";
