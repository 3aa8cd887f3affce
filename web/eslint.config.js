import js from '@eslint/js'
import tseslint from 'typescript-eslint'

export default tseslint.config(
  js.configs.recommended,
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: { parserOptions: { project: './tsconfig.json' } },
    rules: {
      // Numbers in sentences are what most templates here are for.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      // "Become this, and that is all" is one line.
      '@typescript-eslint/no-confusing-void-expression': 'off',
    },
  },
  { ignores: ['eslint.config.js', 'node_modules'] },
)
