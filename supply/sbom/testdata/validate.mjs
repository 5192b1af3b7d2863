// Prints which *.json files of the working folder the strict validator of
// @cyclonedx/cyclonedx-library accepts, as one JSON object.
import fs from 'node:fs';
import * as CDX from '@cyclonedx/cyclonedx-library';

const result = {};
for (const name of fs.readdirSync('.').filter(n => n.endsWith('.json'))) {
  const text = fs.readFileSync(name, 'utf8');
  const validator = new CDX.Validation.JsonStrictValidator(JSON.parse(text).specVersion);
  result[name] = await validator.validate(text) === null;
}
console.log(JSON.stringify(result));
